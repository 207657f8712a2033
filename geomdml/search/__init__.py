"""Nearest neighbours: exact in any space, and by an index in hyperbolic space or a database."""

from geomdml.search.index import HyperbolicIndex
from geomdml.search.knn import Neighbours, knn
from geomdml.search.milvus import MilvusIndex

__all__ = ["HyperbolicIndex", "MilvusIndex", "Neighbours", "knn"]
