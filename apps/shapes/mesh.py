"""Triangles, and their colours."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from apps.shapes.paint import Paint


class Mesh(NamedTuple):
    """Triangles; y is up.

    Args:
        vertices: (V, 3) float64.
        faces: (F, 3) int64, rows of `vertices`, wound in any direction.
        paint: the colours of the faces, where they were read.
    """

    vertices: Float64[np.ndarray, "V 3"]
    faces: Int64[np.ndarray, "F 3"]
    paint: Paint | None = None

    def turned(self, rotation: Float64[np.ndarray, "3 3"]) -> "Mesh":
        return self._replace(vertices=self.vertices @ rotation.T)

    def of_faces(self, rows: np.ndarray) -> "Mesh":
        """Some of the triangles, by their places or a mark for each; all vertices."""
        return self._replace(faces=self.faces[rows], paint=self.paint and self.paint.of_faces(rows))
