"""Scores of an embedding: how well the neighbours of a query share its class."""

from typing import Any

from geomdml.metrics.hierarchical import HierarchicalScores, hierarchical_retrieval
from geomdml.metrics.query_scores import QueryScores, RetrievalScores
from geomdml.metrics.retrieval import retrieval, retrieval_by_query
from geomdml.metrics.shrec import ShrecScores, shrec
from geomdml.metrics.tree_correlation import distance_correlation, radius_correlation

__all__ = [
    "HierarchicalScores",
    "QueryScores",
    "RetrievalMetric",
    "RetrievalScores",
    "ShrecMetric",
    "ShrecScores",
    "distance_correlation",
    "hierarchical_retrieval",
    "radius_correlation",
    "retrieval",
    "retrieval_by_query",
    "shrec",
]


def __getattr__(name: str) -> Any:
    """The classes of `modules`, which needs torchmetrics, when they are first asked for."""
    if name not in ("RetrievalMetric", "ShrecMetric"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from geomdml.metrics import torchmetrics as modules
    except ModuleNotFoundError as error:
        if error.name != "torchmetrics":
            raise
        raise ImportError(f"{name} needs torchmetrics; pip install geomdml[metrics]") from None
    return getattr(modules, name)
