"""All of an index that needs numba, in one import."""

from geomdml.search._graph import link, walk, without
from geomdml.search._metric import FARTHEST, SCALE, merge, polar, scan, shared
from geomdml.search._rows import Rows

__all__ = ["FARTHEST", "SCALE", "Rows", "link", "merge", "polar", "scan", "shared", "walk", "without"]
