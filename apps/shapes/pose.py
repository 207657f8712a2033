"""The pose of a mesh by its principal axes, for shapes of which nobody knows which way is up."""

import numpy as np

from apps.shapes.mesh import Mesh


def principal(mesh: Mesh) -> Mesh:
    """The mesh turned so that its surface spreads most along x and least along y; the same whatever turn it came in.

    The axes are those of the covariance of the surface, of which every point counts, not only the vertices. Along x and
    z the longer tail, by the third moment, points to the positive side; y follows, as nothing is mirrored. Where two
    axes spread alike, as in a cube, the pose is not determined.

    >>> plate = Mesh(np.array([[0.0, 0, 0], [0, 0, 4], [0, 2, 0], [0, 2, 4]]), np.array([[0, 1, 2], [1, 3, 2]]))
    >>> np.ptp(principal(plate).vertices, axis=0).round(6).tolist()
    [4.0, 0.0, 2.0]
    """
    corners = mesh.vertices[mesh.faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    shares = areas / areas.sum()
    centred = corners - shares @ corners.mean(axis=1)
    # ∫ x xᵀ over a triangle is area/12 · (Σ vᵢ vᵢᵀ + (Σ vᵢ)(Σ vᵢ)ᵀ)
    total = centred.sum(axis=1)
    outer = np.einsum("f,fki,fkj->ij", shares, centred, centred) + np.einsum("f,fi,fj->ij", shares, total, total)
    _, vectors = np.linalg.eigh(outer / 12)
    x, z = (vectors[:, k] * _side(centred @ vectors[:, k], shares) for k in (2, 1))
    return mesh.turned(np.stack([x, np.cross(z, x), z]))


def _side(heights: np.ndarray, shares: np.ndarray) -> float:
    """1 or -1: where the longer tail of the surface is along an axis, from the heights of the triangles' corners.

    ∫ s³ over a triangle is area/10 times the sum of all products of three of the corners' s, in any order once.
    """
    a, b, c = heights.T
    cubes = (a + b + c) * (a**2 + b**2 + c**2) + a * b * c
    return 1.0 if shares @ cubes >= 0 else -1.0
