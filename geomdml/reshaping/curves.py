"""The difficulty of a modality as a curve over α, and where it comes down to a level."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Curves", "crossing"]

_HALVINGS = 50  # of [0, ½]: α to 4e-16


class Curves(NamedTuple):
    """D_m(α) and its slope, from three numbers a class: O(C) a value once these are known.

    Apart from its own class a label is α·R, so with ρ the share of R(c) on other classes,

        D(α) = mean_c[ (1 − αρ)·log((1 − αρ)/Q_c) + αρ·log α + α·Σ_{k≠c} R_k·log(R_k/Q_k) ].
    """

    surprise: Tensor  # (M, C) −log Q_c
    moved: Tensor  # (C,) ρ
    spread: Tensor  # (M, C) the last sum

    @classmethod
    def of(cls, log_relation: Tensor, log_q: Tensor) -> "Curves":
        others = log_relation.exp().fill_diagonal_(0.0)
        return cls(
            surprise=-log_q.diagonal(dim1=1, dim2=2),
            moved=others.sum(-1),
            spread=(others * (log_relation - log_q)).sum(-1),
        )

    def value(self, alpha: Tensor) -> Tensor:
        alpha = alpha[:, None]
        own = 1 - alpha * self.moved
        terms = torch.xlogy(own, own) + own * self.surprise + torch.xlogy(alpha, alpha) * self.moved
        return (terms + alpha * self.spread).mean(-1)

    def slope(self, alpha: Tensor) -> Tensor:
        alpha = alpha[:, None]
        return (self.moved * (alpha.log() - self.surprise - torch.log1p(-alpha * self.moved)) + self.spread).mean(-1)


def crossing(decreasing: Callable[[Tensor], Tensor], upper: Tensor) -> Tensor:
    """Where functions that decrease from above 0 come to 0 in [0, upper]; exactly `upper` where they do not.

    Bisection: Newton's step has nowhere to start, the slope at 0 being −∞, and a batch of it waits for its slowest.
    """
    low, high = torch.zeros_like(upper), upper
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = decreasing(middle) > 0
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return high
