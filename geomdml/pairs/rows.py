"""What the points of a list bring to a matrix of distances, and what they take back from it."""

from collections.abc import Collection
from typing import NamedTuple

import torch
from torch import Tensor

from geomdml.numerics import wide


class Rows(NamedTuple):
    """Where points are, in float64: in direction û from the origin, at unit-curvature distance A."""

    unit: Tensor  # (N, D) û; 0 for the origin
    length: Tensor  # (N, 1) the norm of the vector that stores the point
    A: Tensor  # (N, 1)
    stretch: Tensor  # (N, 1) ∂A/∂length
    growth: Tensor  # (N, 1) 2c ∂A/∂c

    def part(self, block: slice) -> "Rows":
        return Rows(*(values[block] for values in self))


class Slopes(NamedTuple):
    """Sums over the points of the other side, weighted with g, for the derivatives along û and across it.

    Across, −∂δ/∂u is lever · (turn − inward û), with the `lever` of the kernel.
    """

    along: Tensor  # (N, 1) Σ g ∂δ/∂A
    inward: Tensor  # (N, 1) ⟨turn, û⟩
    turn: Tensor  # (N, D)

    def plus(self, other: "Slopes") -> "Slopes":
        return Slopes(*(mine.add_(theirs) for mine, theirs in zip(self, other, strict=True)))

    @classmethod
    def joined(cls, parts: Collection["Slopes"], side: Rows) -> "Slopes":
        """The blocks of a side, one below the other; zeros if there are none."""
        if not parts:
            return cls(torch.zeros_like(side.A), torch.zeros_like(side.A), torch.zeros_like(side.unit))
        return cls(*(column[0] if len(column) == 1 else torch.cat(column) for column in zip(*parts, strict=True)))


def polar(x: Tensor) -> tuple[Tensor, Tensor]:
    """x/‖x‖ and ‖x‖ in float64: `numerics.direction` without its care for norms whose square leaves float64."""
    x = wide(x)
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / torch.where(length > 0, length, 1.0), length
