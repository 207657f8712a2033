"""Nearest neighbours: exact in any space, and by an index in hyperbolic space."""

from geomdml.search.index import HyperbolicIndex
from geomdml.search.knn import Neighbours, knn

__all__ = ["HyperbolicIndex", "Neighbours", "knn"]
