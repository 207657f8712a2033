"""Scores of an embedding: how well the neighbours of a query share its class."""

from geomdml.metrics.query_scores import QueryScores, RetrievalScores
from geomdml.metrics.retrieval import retrieval, retrieval_by_query
from geomdml.metrics.shrec import ShrecScores, shrec

__all__ = ["QueryScores", "RetrievalScores", "ShrecScores", "retrieval", "retrieval_by_query", "shrec"]
