"""Charts that are polar about the origin: how long the vector of a point at radius A is, and what follows from that."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from geomdml._core.exact import difference_of_norms
from geomdml._core.numerics import LOG2, log_cosh, log_sinh


class Coordinates(NamedTuple):
    """A chart: the length ρ of the vector of a point at radius A, and what follows from it."""

    radius: Callable[[Tensor, Tensor], Tensor]  # (ρ, c) to A
    length: Callable[[Tensor, Tensor], Tensor]  # (A, c) to ρ(A)
    log_along: Callable[[Tensor, Tensor], Tensor]  # (A, c) to log ρ'(A)
    log_around: Callable[[Tensor, Tensor], Tensor]  # (A, c) to log(ρ(A)/sinh A)
    apart: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]  # (x, y, A, B, c) to A − B, of near points too
    pull: Callable[[Tensor], Tensor]  # A to 2c ∂A/∂c
    pulls_apart: Callable[[Tensor, Tensor, Tensor], Tensor]  # (A, B, A − B) to the difference of two pulls


def log_sinh_ratio(A: Tensor) -> Tensor:
    """log(sinh(A)/A), and 0 at A = 0."""
    safe = torch.where(A > 0, A, 1.0)
    return torch.where(A > 0, log_sinh(safe) - safe.log(), 0.0)


def apart_on_hyperboloid(X: Tensor, Y: Tensor, A: Tensor, B: Tensor, c: Tensor) -> Tensor:
    """A − B, one to one; for near-duplicates from tanh((A − B)/2) = (sinh A − sinh B)/(cosh A + cosh B).

    Without torch's cosh and atanh, for the reason that `log_add` has.
    """
    twice_cosh = torch.exp(A) + torch.exp(-A) + torch.exp(B) + torch.exp(-B)
    tanh = 2 * c.sqrt() * difference_of_norms(X, Y) / twice_cosh
    small = tanh.abs() < 0.5
    safe = torch.where(small, tanh, 0.0)
    return torch.where(small, torch.log1p(2 * safe / (1 - safe)), A - B)


FARTHEST = 690.0  # the radius at which points of the Lorentz model leave float64
TANGENT = Coordinates(
    radius=lambda length, c: 2 * c.sqrt() * length,
    length=lambda A, c: A / (2 * c.sqrt()),
    log_along=lambda A, c: (-LOG2 - c.log() / 2).expand_as(A),
    log_around=lambda A, c: -LOG2 - c.log() / 2 - log_sinh_ratio(A),
    apart=lambda u, v, A, B, c: 2 * c.sqrt() * difference_of_norms(u, v),
    pull=lambda A: A,
    pulls_apart=lambda A, B, apart: apart,
)
LORENTZ = Coordinates(
    radius=lambda length, c: torch.asinh(c.sqrt() * length),
    length=lambda A, c: torch.sinh(A.clamp(max=FARTHEST)) / c.sqrt(),
    log_along=lambda A, c: log_cosh(A) - c.log() / 2,
    log_around=lambda A, c: (-c.log() / 2).expand_as(A),
    apart=apart_on_hyperboloid,
    pull=torch.tanh,
    pulls_apart=lambda A, B, apart: torch.sign(apart) * torch.exp(log_sinh(apart.abs()) - log_cosh(A) - log_cosh(B)),
)
