"""Ground costs of two clouds of points, d(x, y)^p, whole or tile by tile."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from geomdml import euclidean
from geomdml.spaces import Euclidean, Space

__all__ = ["Clouds", "ground_cost"]


def ground_cost(x: Tensor, y: Tensor, p: float, space: Space | None) -> Tensor:
    """(..., n, m) d(x_i, y_j)^p; None is Euclidean space."""
    if _is_squared(p, space):
        return euclidean.pairwise_dist(x, y, squared=True)
    dist = (Euclidean() if space is None else space).pairwise_dist(x, y)
    if p == 1:
        return dist
    apart = dist > 0  # a power below 1 has an infinite slope at 0
    return torch.where(apart, torch.where(apart, dist, 1.0) ** p, 0.0)


def _is_squared(p: float, space: Space | None) -> bool:
    return p == 2 and (space is None or isinstance(space, Euclidean))


class Clouds(NamedTuple):
    """(n, D) and (m, D) points whose ground cost is never held whole."""

    x: Tensor
    y: Tensor
    p: float
    space: Space | None

    def cost(self, rows: slice, columns: slice) -> Tensor:
        return ground_cost(self.x[rows], self.y[columns], self.p, self.space)

    def range(self) -> float:
        """No cost is larger: by the triangle inequality, through one of the points."""
        centre = self.y[:1]
        legs = (float(ground_cost(points, centre, 1.0, self.space).amax()) for points in (self.x, self.y))
        return math.fsum(legs) ** self.p

    def exponents(self, f: Tensor, g: Tensor, eps: float) -> "Exponents":
        """(f + g − C)/ε for potentials (n,) and (m,), −∞ where one of them is."""
        if not _is_squared(self.p, self.space):
            return _Exponents(self, f, g, eps)
        centre = self.y.mean(0)
        x, y = self.x - centre, self.y - centre
        one, other = (torch.ones_like(u).unsqueeze(1) for u in (f, g))
        own, others = ((u - v.square().sum(1)).div(eps).unsqueeze(1) for u, v in ((f, x), (g, y)))
        return _Product(torch.cat([x * (2 / eps), own, one], 1), torch.cat([y, other, others], 1))


class _Product(NamedTuple):
    """One product of matrices: squared distances are (x² − 2xy + y²), points from the mean."""

    left: Tensor
    right: Tensor

    def tile(self, rows: slice, columns: slice) -> Tensor:
        return self.left[rows] @ self.right[columns].mT


class _Exponents(NamedTuple):
    clouds: Clouds
    f: Tensor
    g: Tensor
    eps: float

    def tile(self, rows: slice, columns: slice) -> Tensor:
        cost = self.clouds.cost(rows, columns)
        return (self.f[rows, None] + self.g[columns] - cost).div_(self.eps)


Exponents = _Product | _Exponents
