"""Scores of an embedding: how well the neighbours of a query share its class."""

from geomdml.metrics.retrieval import RetrievalScores, retrieval

__all__ = ["RetrievalScores", "retrieval"]
