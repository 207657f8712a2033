"""Sinkhorn's iteration by matrix-vector products that neither overflow nor vanish.

The plan is kept as T = diag(x) K diag(y), with K = exp((f₀ + g₀ − C)/ε). The potentials f₀, g₀ are chosen so that the
largest entry of each row and each column of K is 1; what is left of the potentials is in x and y, and is *absorbed*
into a new f₀, g₀, K before it leaves the range of the number format. A row or column without weight is a row or column
of zeros.

Between two kernels the potentials are taken relative to the marginals, T = a·exp((f̃ + g̃ − C)/ε)·b: these hardly move
with ε, so they are what one level of ε hands to the next.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Scaling", "Side", "product"]


class Side(NamedTuple):
    """One of the two marginals: its weights, and the penalty for not meeting them."""

    weight: Tensor  # (B, 1, n)
    penalty: float
    hole: Tensor | None  # 1 where there is no weight, else 0; None where there is weight everywhere

    @classmethod
    def of(cls, weight: Tensor, penalty: float) -> "Side":
        return cls(weight, penalty, None if float(weight.amin()) > 0 else (weight == 0).to(weight))

    def part(self, which: Tensor) -> "Side":
        """Those of some problems alone."""
        return Side(self.weight[which], self.penalty, None if self.hole is None else self.hole[which])

    def fill(self, x: Tensor, value: float) -> Tensor:
        """x, with the value where there is no weight."""
        return x if self.hole is None else x.masked_fill(self.hole == 1, value)

    def sums(self, x: Tensor, K: Any) -> Tensor:
        """x K, and 1 where there is no weight, so that it can be divided by."""
        return product(x, K) if self.hole is None else self.hole + product(x, K)

    def scale(self, s: Tensor, potential: Tensor, eps: Tensor) -> Tensor:
        """x with x·s = a; or, under a penalty ρ, with x·s = a·exp(−f/ρ), where f = potential + ε log x."""
        if math.isinf(self.penalty):
            return self.weight / s
        log_x = (self.log_weight - s.log() - potential / self.penalty) * (self.penalty / (self.penalty + eps))
        return self.fill(log_x.exp(), 0.0)

    def target(self, x: Tensor, potential: Tensor, eps: Tensor) -> Tensor:
        """The marginal to be met: a, or a·exp(−f/ρ)."""
        if math.isinf(self.penalty):
            return self.weight
        return self.weight * (-(potential + eps * self.fill(x, 1.0).log()) / self.penalty).exp()

    def relative(self, x: Tensor, potential: Tensor, eps: Tensor) -> Tensor:
        """f̃ = potential + ε log x − ε log a; potential alone where there is no weight."""
        return potential + eps * (self.fill(x, 1.0).log() - self.log_weight)

    @property
    def log_weight(self) -> Tensor:
        return self.fill(self.weight, 1.0).log()


def product(x: Tensor, K: Any) -> Tensor:
    """x K, for a kernel that is a (B, n, m) matrix, or none but can be multiplied by (`geomdml.transport.tiles`)."""
    return torch.bmm(x, K) if isinstance(K, Tensor) else x @ K


class Scaling:
    """The state (x, K, y) of B problems at regularisation ε; vectors are rows, (B, 1, n) and (B, 1, m).

    After `sweep`, y has just been renewed from t = Kᵀx: the column marginal y·t is met, that of the rows is not yet.
    """

    K: Any  # as `product` takes

    def __init__(self, cost: Tensor, sides: tuple[Side, Side], eps: Tensor, g: Tensor) -> None:
        self.cost, self.eps, (self.rows, self.columns) = cost, eps, sides
        # log T may differ from log K by twice this much, and both are to be in the range of the format
        self.reach = 30.0 if self.cost.dtype == torch.float32 else 100.0
        self.absorb(g)

    def absorb(self, g: Tensor) -> None:
        """K from the relative potential g̃; f̃ follows from it."""
        if not (math.isinf(self.rows.penalty) and math.isinf(self.columns.penalty)):
            g = g - g.mean(-1, keepdim=True)  # `shift` finds it again, and K is more exact without it
        self.hard = False  # whether conjugate gradients were too slow with this kernel
        below = self.build(g)
        self.g0 = g - below
        self.y = self.columns.weight * (below / self.eps).clamp(min=-self.reach).exp_()
        self.sweep(self.row_sums())

    def build(self, g: Tensor) -> Tensor:
        """Make f₀ and K; how far below g̃ that g₀ is."""
        K = self.columns.fill(g, -math.inf) - self.cost
        self.f0 = -K.amax(-1).unsqueeze(-2)
        K += self.rows.fill(self.f0, -math.inf).mT
        below = self.columns.fill(K.amax(-2, keepdim=True), 0.0)
        K -= below
        self.K = K.div_(self.eps).exp_()
        return below

    def row_sums(self) -> Tensor:
        return self.rows.sums(self.y, self.K.mT)

    def sweep(self, s: Tensor) -> None:
        """One iteration of Sinkhorn, given s = K y."""
        if not (math.isinf(self.rows.penalty) and math.isinf(self.columns.penalty)):
            self.shift(s)
        self.move(self.rows.scale(s, self.f0, self.eps))

    def shift(self, s: Tensor) -> None:
        """Under penalties, move mass at once: (f + k, g − k) leaves T as it is, and the best k is known.

        Where a penalty is large beside ε, iterations and Newton's steps would need as many as k is long. Source:
        Séjourné, Vialard and Peyré, "Faster unbalanced optimal transport: translation invariant Sinkhorn" (2022).
        """
        x = self.rows.scale(s, self.f0, self.eps)
        rows, columns = self.rows.target(x, self.f0, self.eps), self.columns.target(self.y, self.g0, self.eps)
        log_ratio = (rows.sum(-1, keepdim=True) / columns.sum(-1, keepdim=True)).log()
        k = log_ratio / (1 / self.rows.penalty + 1 / self.columns.penalty)
        self.f0, self.g0 = self.f0 + k, self.g0 - k

    def move(self, x: Tensor) -> None:
        self.x = x
        self.t = self.columns.sums(x, self.K)
        self.y = self.columns.scale(self.t, self.g0, self.eps)

    def row_error(self, s: Tensor) -> Tensor:
        """(B,) L1 distance of the row marginal x·s from its target."""
        return (self.x * s).sub_(self.rows.target(self.x, self.f0, self.eps)).abs_().sum((-1, -2))

    def beyond_reach(self) -> bool:
        """Whether a scaling is about to leave the safe range, or has: the NaN of one problem hides no other's."""
        return any(not float(scaling.amax()) <= math.exp(self.reach) for scaling in (self.x, self.y))

    def relative(self) -> Tensor:
        """g̃, which is what a new kernel needs."""
        return self.columns.relative(self.y, self.g0, self.eps)

    def absolute(self) -> tuple[Tensor, Tensor]:
        """f and g, −∞ where there is no weight."""
        return self.f0 + self.eps * self.x.log(), self.g0 + self.eps * self.y.log()

    def plan(self) -> Tensor:
        """T, in the place of K, which is of no use any more: fresh memory of its size takes longer than a product."""
        return self.K.mul_(self.y).mul_(self.x.mT)
