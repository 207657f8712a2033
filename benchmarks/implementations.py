"""The implementations of the distance matrix that are set side by side, at curvature −C.

geoopt and the formula of the Hyp-ViT code (Möbius addition and artanh, clamped) broadcast, as does HypLL's `cdist`. A
matrix product of the same size is what none can beat; `torch.cdist` is what Euclidean distances cost.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from geomdml import poincare, tangent
from geomdml._core.all_pairs.twofloat import two_floats
from geomdml.testing import oracle

C = 0.5


class Implementation(NamedTuple):
    """(B, D) and (P, D) points to (B, P) distances."""

    pairwise: Callable[[Tensor, Tensor], Tensor]
    exact: oracle.Reference | None = None  # None: no distance, or none of this geometry

    broadcasts: bool = False  # makes a (B, P, D) tensor, so that its memory can be foretold

    @property
    def in_ball(self) -> bool:
        return self.exact is oracle.dist


def geoopt_pairwise(x: Tensor, y: Tensor) -> Tensor:
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # torch.jit.script is deprecated
        from geoopt import PoincareBall

    return PoincareBall(c=C).to(x.device).dist(x.unsqueeze(1), y.unsqueeze(0))


def hypll_pairwise(x: Tensor, y: Tensor) -> Tensor:
    from hypll.manifolds.poincare_ball import Curvature, PoincareBall
    from hypll.tensors import ManifoldTensor

    ball = PoincareBall(Curvature(C, constraining_strategy=lambda c: c)).to(x.device)
    return ball.cdist(ManifoldTensor(x.unsqueeze(0), ball), ManifoldTensor(y.unsqueeze(0), ball)).squeeze(0)


def mobius_pairwise(x: Tensor, y: Tensor) -> Tensor:
    """The textbook form, (2/√c) artanh(√c‖−x ⊕ y‖), clamped below 1 by 1e-5 as the Hyp-ViT code does."""
    xy, xx, yy = -x @ y.T, (x * x).sum(-1, keepdim=True), (y * y).sum(-1)
    a, b = 1 + 2 * C * xy + C * yy, 1 - C * xx
    sum_ = (b.unsqueeze(-1) * y - a.unsqueeze(-1) * x.unsqueeze(1)) / (1 + 2 * C * xy + C * C * xx * yy).unsqueeze(-1)
    return 2 / C**0.5 * torch.atanh((C**0.5 * sum_.norm(dim=-1)).clamp(max=1 - 1e-5))


def tangent_in_two_floats(u: Tensor, v: Tensor) -> Tensor:
    """As on a device without fast float64."""
    with two_floats(True):
        return tangent.pairwise_dist(u, v, c=C)


BASE, OURS = "matmul", "geomdml.tangent"
IMPLEMENTATIONS = {
    BASE: Implementation(lambda x, y: x @ y.T),
    "torch.cdist": Implementation(torch.cdist),
    OURS: Implementation(lambda u, v: tangent.pairwise_dist(u, v, c=C), oracle.tangent_dist),
    "geomdml.tangent, float32 pairs": Implementation(tangent_in_two_floats, oracle.tangent_dist),
    "geomdml.poincare": Implementation(lambda x, y: poincare.pairwise_dist(x, y, c=C), oracle.dist),
    "geoopt": Implementation(geoopt_pairwise, oracle.dist, broadcasts=True),
    "HypLL": Implementation(hypll_pairwise, oracle.dist, broadcasts=True),
    "Hyp-ViT formula": Implementation(mobius_pairwise, oracle.dist, broadcasts=True),
}
