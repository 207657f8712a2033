"""What the points of a list bring to a matrix of distances, and what they take back from it."""

from typing import NamedTuple

import torch
from torch import Tensor

from geomdml._core.numerics import direction, wide


class Rows(NamedTuple):
    """Where points are, in float64: in direction û from the origin, at unit-curvature distance A."""

    unit: Tensor  # (N, D) û; 0 for the origin
    length: Tensor  # (N, 1) the norm of the vector that stores the point
    A: Tensor  # (N, 1)
    stretch: Tensor  # (N, 1) ∂A/∂length
    growth: Tensor  # (N, 1) 2c ∂A/∂c


class Slopes(NamedTuple):
    """Sums over the points of the other side, weighted with g, for the derivatives along û and across it.

    Across, −∂δ/∂u is lever · (turn − inward û), with the `lever` of the kernel.
    """

    along: Tensor  # (N, 1) Σ g ∂δ/∂A
    inward: Tensor  # (N, 1) ⟨turn, û⟩
    turn: Tensor  # (N, D)
    single: Tensor | None = None  # (N, D) the gradient from pairs that were taken one to one

    def plus(self, before: "Slopes | None") -> "Slopes":
        if before is None:
            return self
        along, inward, turn = (mine.add_(theirs) for mine, theirs in zip(self[:3], before[:3], strict=True))
        if self.single is None or before.single is None:
            return Slopes(along, inward, turn, before.single if self.single is None else self.single)
        return Slopes(along, inward, turn, self.single.add_(before.single))

    def with_single(self, indices: Tensor, gradients: Tensor) -> "Slopes":
        single = torch.zeros_like(self.turn) if self.single is None else self.single
        return self._replace(single=single.index_add_(0, indices, gradients))


def polar(x: Tensor) -> tuple[Tensor, Tensor]:
    """x/‖x‖ and ‖x‖ in float64; `direction` takes more care, which only norms need whose square leaves float64.

    The squares of float64 points are added up in pairs: one after another, as `vector_norm` does, they would lose
    digits in many dimensions.
    """
    unit = wide(x)
    if x.dtype == torch.float64:
        length = (unit * unit).sum(-1, keepdim=True).sqrt_()
        if not bool(length.isfinite().all()):
            return direction(unit)
    else:
        length = torch.linalg.vector_norm(unit, dim=-1, keepdim=True)
    return torch.div(unit, torch.where(length > 0, length, 1.0), out=None if unit is x else unit), length
