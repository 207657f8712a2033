"""Polygons as triangles."""

import numpy as np
from jaxtyping import Int64

from apps.shapes.limits import MOST_FACES, check_counts

MOST_CORNERS = 1000


def fans(
    corners: Int64[np.ndarray, "C"], counts: Int64[np.ndarray, "P"], most: int = MOST_FACES
) -> Int64[np.ndarray, "T 3"]:
    """Every polygon as a fan of triangles around its first corner, in the order of the polygons.

    Files in use have polygons of two corners, which have no surface: they become no triangle.

    Args:
        corners: the vertices of all polygons, one polygon after another.
        counts: the number of corners of each polygon.
        most: triangles that are made.

    Raises:
        ValueError: a polygon with fewer than 2 or more than 1,000 corners, or too many triangles.

    >>> fans(np.array([0, 1, 2, 3, 5, 6, 7, 8, 9]), np.array([4, 2, 3])).tolist()
    [[0, 1, 2], [0, 2, 3], [7, 8, 9]]
    """
    wrong = np.flatnonzero((counts < 2) | (counts > MOST_CORNERS))
    if len(wrong):
        raise ValueError(f"face {wrong[0]} has {counts[wrong[0]]} corners: expected 3 to {MOST_CORNERS}")
    triangles = counts - 2
    check_counts(0, int(triangles.sum()), most)
    first = np.repeat(np.cumsum(counts) - counts, triangles)
    place = np.arange(len(first)) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    return np.stack([corners[first], corners[first + place + 1], corners[first + place + 2]], axis=1)
