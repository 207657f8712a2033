"""What the points of a list bring to a matrix of distances, and what they take back from it."""

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
    """Sums over the points of the other side, at v̂ and B, with weights g; `lever` · turn is −∂δ/∂u across û."""

    along: Tensor  # (N, 1) Σ g ∂δ/∂A
    turn: Tensor  # (N, D)


def polar(x: Tensor) -> tuple[Tensor, Tensor]:
    """x/‖x‖ and ‖x‖ in float64: `numerics.direction` without its care for norms whose square leaves float64."""
    x = wide(x)
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / torch.where(length > 0, length, 1.0), length
