"""Scores of an embedding: how well the neighbours of a query share its class."""

from geomdml.metrics.retrieval import RetrievalScores, retrieval
from geomdml.metrics.shrec import ShrecScores, shrec

__all__ = ["RetrievalScores", "ShrecScores", "retrieval", "shrec"]
