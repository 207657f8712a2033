"""All hyperbolic distances from one matrix product: this library's charts beside the formulas of MERU and geoopt.

The rivals take arcosh(−c⟨X, Y⟩_L)/√c of points of the Lorentz model. Near points lose their digits there, for the
product cancels; far out, so do all.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.implementations import C
from geomdml import lorentz, poincare, tangent
from geomdml.testing import oracle


class Products(NamedTuple):
    """(B, D) and (P, D) points of a chart to (B, P) distances."""

    pairwise: Callable[[Tensor, Tensor], Tensor]
    chart: str
    exact: oracle.Reference


def meru(X: Tensor, Y: Tensor) -> Tensor:
    """The formula of MERU's `pairwise_dist`, of space components; its clamp keeps arcosh's slope finite."""
    time_x, time_y = (torch.sqrt(1 / C + (Z * Z).sum(-1, keepdim=True)) for Z in (X, Y))
    return torch.acosh((-C * (X @ Y.T - time_x @ time_y.T)).clamp(min=1 + 1e-8)) / C**0.5


def geoopt_cdist(x: Tensor, y: Tensor) -> Tensor:
    """The formula of `Lorentz.cdist` of geoopt's main branch (January 2026), of points with their time first.

    arcosh z = log(z + √(z² − 1)), z² − 1 clamped at 1e-15.
    """
    z = C * (x[:, :1] @ y[:, :1].T - x[:, 1:] @ y[:, 1:].T)
    return torch.log(z + torch.sqrt((z * z - 1).clamp(min=1e-15))) / C**0.5


def with_time(X: Tensor) -> Tensor:
    """Points of the Lorentz model with their time component first, as geoopt keeps them."""
    return torch.cat([torch.sqrt(1 / C + (X * X).sum(-1, keepdim=True)), X], -1)


OURS = ("tangent", "Lorentz", "ball")
PRODUCTS = {
    "tangent": Products(lambda u, v: tangent.pairwise_dist(u, v, c=C), "tangent", oracle.tangent_dist),
    "Lorentz": Products(lambda X, Y: lorentz.pairwise_dist(X, Y, c=C), "lorentz", oracle.hyperboloid_dist),
    "ball": Products(lambda x, y: poincare.pairwise_dist(x, y, c=C), "ball", oracle.dist),
    "MERU": Products(meru, "lorentz", oracle.hyperboloid_dist),
    "geoopt main": Products(lambda X, Y: geoopt_cdist(with_time(X), with_time(Y)), "lorentz", oracle.hyperboloid_dist),
}


def in_chart(chart: str, u: Tensor) -> Tensor:
    """The points of tangent vectors at the origin."""
    if chart == "tangent":
        return u
    return tangent.to_ball(u, c=C) if chart == "ball" else lorentz.from_tangent(u, c=C)
