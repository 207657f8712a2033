"""Distances one to one between some of two lists of points: as exact as `space.dist`, and several times faster.

What belongs to one point, its length and its distance from the origin, is computed once a point; of a pair there is
left one inner product in float64. As in `geomdml._core.all_pairs`, pairs whose directions nearly agree go to
`space.dist`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from geomdml._core.numerics import asinh_root, norm, result_dtype, sinh_half_squared, tolerated_loss, wide
from geomdml.spaces import Euclidean, Hyperbolic, Space

ENTRIES = 2**21  # numbers of points at a time


class Polar(NamedTuple):
    """Where points are: the norms of their vectors, and their distances from the origin at unit curvature."""

    length: Tensor  # (N,)
    A: Tensor  # (N,)

    @classmethod
    def of(cls, space: Hyperbolic, points: Tensor) -> "Polar":
        """In float64."""
        scale, lengths, radii = 2 * space.curvature**0.5, [], []
        for block in points.split(max(1, ENTRIES // points.shape[1])):
            some = wide(block)
            lengths.append(norm(some).squeeze(1))
            radii.append(scale * norm(space.to("tangent", some)).squeeze(1))
        return cls(torch.cat(lengths), torch.cat(radii))


class OneToOne:
    """Distances between rows of `query` and rows of `gallery`, which are of one dtype; radii below 100.

    Those of a space that is neither Euclidean nor hyperbolic are its own, at its own speed.
    """

    def __init__(self, space: Space, query: Tensor, gallery: Tensor) -> None:
        self.space, self.query, self.gallery = space, query, gallery
        if isinstance(space, Hyperbolic):
            self.polar = Polar.of(space, query)
            self.gallery_polar = self.polar if gallery is query else Polar.of(space, gallery)

    def __call__(self, rows: Tensor, items: Tensor) -> Tensor:
        """(M,), (M,) indices to (M,) distances."""
        x, y = self.query[rows], self.gallery[items]
        dtype = result_dtype(x, y)
        if isinstance(self.space, Euclidean) and dtype != torch.float64:  # whose squares may overflow
            return torch.linalg.vector_norm(wide(x).sub_(y), dim=-1).to(dtype)
        if not isinstance(self.space, Hyperbolic):
            return self.space.dist(x, y)
        (lengths, radii), (item_lengths, item_radii) = self.polar, self.gallery_polar
        A, B, product = radii[rows], item_radii[items], lengths[rows] * item_lengths[items]
        share = torch.linalg.vecdot(wide(x), wide(y)).div_(torch.where(product > 0, product, 1.0)).sub_(1).div_(-2)
        q = sinh_half_squared(A, B, share)
        found = (2 * asinh_root(q.clamp(min=0)) / self.space.curvature**0.5).to(dtype)
        near = (share < tolerated_loss(x, y)).nonzero()[:, 0]
        if len(near):
            found[near] = self.space.dist(x[near], y[near])
        return found
