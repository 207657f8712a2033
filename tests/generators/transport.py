"""Entropic transport problems with their exact plans."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Solved(NamedTuple):
    cost: Tensor
    reg: float
    a: Tensor
    b: Tensor
    plan: Tensor
    tolerance: float = 1e-9  # of the plan, in L1

    @property
    def linear(self) -> float:
        return float((self.plan * self.cost).sum())

    @property
    def value(self) -> float:
        return self.linear + self.reg * float((torch.special.xlogy(self.plan, self.plan) - self.plan).sum())


def weights(n: int, generator: torch.Generator, zeros: int = 0) -> Tensor:
    w = torch.rand(n, dtype=torch.float64, generator=generator) + 0.05
    w[torch.randperm(n, generator=generator)[:zeros]] = 0
    return w / w.sum()


def separable(reg: float, seed: int) -> Solved:
    """C_ij = α_i + β_j costs the same for any plan: T = a⊗b."""
    generator = torch.Generator().manual_seed(seed)
    a, b = weights(7, generator, zeros=1), weights(9, generator, zeros=2)
    cost = torch.randn(7, 1, dtype=torch.float64, generator=generator) + torch.randn(9, generator=generator)
    return Solved(cost, reg, a, b, a[:, None] * b)


def circulant(reg: float, seed: int) -> Solved:
    """C_ij = c(j − i mod n) with uniform weights: T is exp(−C/reg), normalised."""
    n, generator = 12, torch.Generator().manual_seed(seed)
    c = torch.rand(n, dtype=torch.float64, generator=generator)
    i = torch.arange(n)
    cost = c[(i - i[:, None]) % n]
    uniform = torch.full((n,), 1 / n, dtype=torch.float64)
    return Solved(cost, reg, uniform, uniform, (-c / reg).softmax(0)[(i - i[:, None]) % n] / n)


def one_point(reg: float, seed: int) -> Solved:
    """All the mass in one point."""
    generator = torch.Generator().manual_seed(seed)
    b = weights(6, generator, zeros=1)
    cost = torch.rand(1, 6, dtype=torch.float64, generator=generator)
    return Solved(cost, reg, torch.ones(1, dtype=torch.float64), b, b[None])


def diracs(reg: float, seed: int) -> Solved:
    """All the mass in one of several points, on both sides."""
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.eye(5, dtype=torch.float64)[2], torch.eye(4, dtype=torch.float64)[1]
    return Solved(torch.rand(5, 4, dtype=torch.float64, generator=generator), reg, a, b, a[:, None] * b)


def permutation(reg: float, seed: int) -> Solved:
    """Another partner than one's own costs 40·reg more, a factor of 4e-18."""
    n, generator = 8, torch.Generator().manual_seed(seed)
    own = torch.eye(n, dtype=torch.float64)[torch.randperm(n, generator=generator)]
    uniform = torch.full((n,), 1 / n, dtype=torch.float64)
    shift = torch.rand(n, 1, dtype=torch.float64, generator=generator)
    return Solved(40 * reg * (1 - own) + shift, reg, uniform, uniform, own / n)


def two_by_two(reg: float, seed: int) -> Solved:
    stay = 0.5 / (1 + math.exp(-1 / reg))
    half = torch.full((2,), 0.5, dtype=torch.float64)
    cost = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    return Solved(cost, reg, half, half, torch.tensor([[stay, 0.5 - stay], [0.5 - stay, stay]], dtype=torch.float64))


def gaussians(reg: float, seed: int) -> Solved:
    """Two Gaussians on a fine grid, squared distance: T is a Gaussian with covariance (√(4vw + reg²/4) − reg/2)/2.

    Source: Janati et al., "Entropic optimal transport between unbalanced Gaussian measures has a closed form" (2020),
    with reg = 2σ².
    """
    v, w, mean = 0.8, 1.3, 0.4
    x = torch.linspace(-10, 10, 251, dtype=torch.float64)
    a, b = (-(x**2) / (2 * v)).softmax(0), (-((x - mean) ** 2) / (2 * w)).softmax(0)
    covariance = (math.sqrt(4 * v * w + reg**2 / 4) - reg / 2) / 2
    precision = torch.tensor([[v, covariance], [covariance, w]], dtype=torch.float64).inverse()
    apart = torch.stack(torch.broadcast_tensors(x[:, None], x - mean), -1)
    plan = (-((apart @ precision) * apart).sum(-1) / 2).flatten().softmax(0).reshape(251, 251)
    return Solved((x[:, None] - x) ** 2, reg, a, b, plan, 1e-8)


GENERATORS: dict[str, Callable[[float, int], Solved]] = {
    f.__name__: f for f in (separable, circulant, one_point, diracs, permutation, two_by_two, gaussians)
}
