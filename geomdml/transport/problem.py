"""What a transport problem is: costs, marginals, regularisation, checked and in one shape."""

import math
from numbers import Real
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from geomdml._core import checks
from geomdml._core.numerics import result_dtype

__all__ = [
    "Array",
    "MET",
    "Penalty",
    "Problem",
    "Solution",
    "barred",
    "finite_range",
    "first",
    "log_weight",
    "marginals",
    "penalties",
    "potential",
    "refuse_transforms",
    "regularisation",
    "spread_weights",
]

Array = np.ndarray
MET = (math.inf, math.inf)  # the penalties of marginals that must be met
Penalty = float | tuple[float, float] | None


class Problem(NamedTuple):
    """B problems of n × m; a penalty is infinite where the marginal must be met."""

    cost: Tensor  # (B, n, m)
    a: Tensor  # (B, 1, n)
    b: Tensor  # (B, 1, m)
    reg: Tensor  # (B, 1, 1)
    penalty: tuple[float, float]

    @property
    def balanced(self) -> bool:
        return self.penalty == MET

    def flipped(self) -> "Problem":
        """Rows as columns."""
        return Problem(self.cost.mT, self.b, self.a, self.reg, self.penalty[::-1])


class Solution(NamedTuple):
    """A plan and its potentials, T = exp((f + g − C)/reg)."""

    plan: Tensor  # (B, n, m)
    f: Tensor  # (B, 1, n), −∞ where there is no weight
    g: Tensor  # (B, 1, m)
    iterations: Tensor  # (B,) in float64 on the CPU, as is the error
    error: Tensor  # (B,) L1 of the marginals, as a share of the mass

    def flipped(self) -> "Solution":
        return self._replace(plan=self.plan.mT, f=self.g, g=self.f)


def log_weight(w: Tensor) -> Tensor:
    """log w, and −∞ without a gradient for a weight of 0."""
    return torch.where(w > 0, w, 1.0).log().masked_fill(w == 0, -math.inf)


def marginals(
    cost: Tensor, a: Tensor | None, b: Tensor | None, *, equal_sums: bool, all_move: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Costs and marginals in the dtype of the result, these (..., n) and (..., m), uniform where there are none.

    What may not be moved, at an infinite cost, has one that is `barred`. Unless `all_move`, a row or a column with
    weight may be barred as a whole.
    """
    checks.floating(cost=cost)
    refuse_transforms(cost, a, b)
    if cost.ndim < 2 or 0 in cost.shape:
        raise ValueError(f"cost has shape {tuple(cost.shape)}; expected (..., n, m), none of them 0")
    known = checks.values_are_checked(cost)
    finite = known and math.isfinite(cost.detach().sum())
    if known and not finite and not bool((cost > -math.inf).all()):
        raise ValueError(f"cost has {int((~(cost > -math.inf)).sum())} entries that are NaN or -inf")
    a, b = spread_weights(cost, cost.shape, a, b, equal_sums=equal_sums)
    cost = cost.to(a.dtype)
    if finite:
        return cost, a, b
    if known and all_move:
        _refuse_stranded(cost, a, b)
    return cost.clamp(max=torch.finfo(cost.dtype).max / _ROOM), a, b


_ROOM = 8.0  # for sums of barred costs and others


def barred(cost: Tensor) -> Tensor:
    """Where costs are those of what may not be moved: finite, so that 0 times them is 0, and as good as infinite."""
    return cost > torch.finfo(cost.dtype).max / (2 * _ROOM)


def finite_range(cost: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the largest of (..., n, m) costs, barred ones left out."""
    low, high = torch.aminmax(cost.flatten(-2), dim=-1)
    if bool(barred(high).any()):
        high = cost.masked_fill(barred(cost), -math.inf).amax((-1, -2))
    return low, high


def _refuse_stranded(cost: Tensor, a: Tensor, b: Tensor) -> None:
    """Refuse weights that can go nowhere."""
    open_ = (cost < math.inf) & (a > 0).unsqueeze(-1) & (b > 0).unsqueeze(-2)
    for kind, weight, dim in (("row", a, -1), ("column", b, -2)):
        stranded = (weight > 0) & ~open_.any(dim)
        if bool(stranded.any()):
            raise ValueError(
                f"{kind} {tuple(stranded.nonzero()[0].tolist())} has weight, and no finite cost to where weight is "
                f"({int(stranded.sum())} such); expected a finite cost, or weight 0"
            )


def spread_weights(
    cost: Tensor, shape: torch.Size, a: Tensor | None, b: Tensor | None, *, equal_sums: bool
) -> tuple[Tensor, Tensor]:
    """The marginals of costs of a shape, like a tensor that has their dtype and device."""
    (*batch, n, m), given = shape, {}
    if a is None and b is None:
        dtype = result_dtype(cost)
        return cost.new_full((*batch, n), 1 / n, dtype=dtype), cost.new_full((*batch, m), 1 / m, dtype=dtype)
    for name, weights, count in (("a", a, n), ("b", b, m)):
        if weights is None:
            continue
        checks.floating(**{name: weights})
        fits = weights.ndim >= 1 and weights.shape[-1] == count and weights.ndim <= len(shape) - 1
        if not fits or any(w not in (1, c) for w, c in zip(weights.shape[-2::-1], batch[::-1], strict=False)):
            want = " or ".join(map(str, dict.fromkeys([(count,), (*batch, count)])))
            raise ValueError(f"{name} has shape {tuple(weights.shape)}; expected {want}")
        checks.finite(**{name: weights})
        if checks.values_are_checked(weights):
            if bool((weights < 0).any()):
                raise ValueError(f"{name} has {int((weights < 0).sum())} entries below 0; expected weights ≥ 0")
            if not bool((weights > 0).any(-1).all()):
                raise ValueError(f"{name} sums to 0; expected a weight above 0")
        given[name] = weights
    dtype = result_dtype(cost, *given.values())
    whole = {name: weights.to(cost.device, dtype).expand(*batch, -1) for name, weights in given.items()}
    mass = next(iter(whole.values())).sum(-1, keepdim=True) if len(whole) == 1 else None
    for name, count in (("a", n), ("b", m)):
        if name not in whole:
            uniform = cost.new_full((*batch, count), 1 / count, dtype=dtype)
            whole[name] = uniform if mass is None else uniform * mass
    if len(given) == 2 and equal_sums and checks.values_are_checked(*given.values()):
        sums = whole["a"].detach().double().sum(-1), whole["b"].detach().double().sum(-1)
        tolerated = 8 * (n + m) ** 0.5 * torch.finfo(result_dtype(*given.values())).eps
        if any(weights.dtype in (torch.bfloat16, torch.float16) for weights in given.values()):
            tolerated = 0.01
        if bool(((sums[0] - sums[1]).abs() > tolerated * sums[0]).any()):
            worst = (sums[0] - sums[1]).abs().argmax()
            raise ValueError(
                f"a sums to {float(sums[0].flatten()[worst]):.9g}, b to {float(sums[1].flatten()[worst]):.9g}; "
                "expected equal sums, or marginal_penalty= for unbalanced transport"
            )
    return whole["a"], whole["b"]


def refuse_transforms(*inputs: Tensor | None) -> None:
    tensors = [x for x in inputs if isinstance(x, Tensor)]
    if checks.transformed(*tensors) or any(_has_tangent(x) for x in tensors):
        raise NotImplementedError(
            "optimal transport under a transform of torch.func (grad, vmap, jvp, jacfwd, hessian) or in forward mode; "
            "expected torch.autograd.grad (also of a gradient of the value), and leading dimensions in place of vmap"
        )


def _has_tangent(x: Tensor) -> bool:
    """Whether forward-mode differentiation goes through a tensor."""
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(x).tangent is not None


def penalties(marginal_penalty: Penalty) -> tuple[float, float]:
    """The two penalties, infinite for None."""
    pair = marginal_penalty if isinstance(marginal_penalty, tuple) else (marginal_penalty, marginal_penalty)
    if len(pair) != 2 or not all(rho is None or (isinstance(rho, Real) and rho > 0) for rho in pair):
        raise ValueError(f"marginal_penalty = {marginal_penalty!r}; expected a number above 0, or two, or None")
    rows, columns = (math.inf if rho is None else float(rho) for rho in pair)
    return rows, columns


def regularisation(reg: float | Tensor, batch: torch.Size, like: Tensor) -> Tensor:
    """reg as (B, 1, 1): a number above 0, or one a problem."""
    if not isinstance(reg, Tensor):
        checks.positive(reg=reg)
        return like.new_full((math.prod(batch), 1, 1), float(reg))
    checks.numbers(batch, reg=reg)
    if torch.broadcast_shapes(reg.shape, batch) != batch:
        raise ValueError(f"reg has shape {tuple(reg.shape)}; expected a number, or what broadcasts to {tuple(batch)}")
    if checks.values_are_checked(reg) and not bool((reg > 0).all()):
        raise ValueError(f"reg has values down to {float(reg.min()):g}; expected numbers above 0")
    return reg.detach().to(like).expand(batch).reshape(-1, 1, 1)


def potential(name: str, value: Tensor | None, weight: Tensor, batch: list[int]) -> Tensor | None:
    """A potential to start from as (B, 1, n)."""
    if value is None:
        return None
    checks.floating(**{name: value})
    whole = torch.Size([*batch, weight.shape[-1]])
    try:
        return value.detach().to(weight).expand(whole).reshape(weight.shape)
    except RuntimeError:
        raise ValueError(f"{name} has shape {tuple(value.shape)}; expected {tuple(whole)}") from None


def first(problem: Problem, f: Tensor | None, g: Tensor | None) -> Tensor:
    """The relative potential g̃ to start from."""
    if g is None and f is not None:
        g = problem.reg * (log_weight(problem.b) - ((f.mT - problem.cost) / problem.reg).logsumexp(-2, keepdim=True))
    if g is None:
        return torch.zeros_like(problem.b)
    return torch.nan_to_num(g - problem.reg * log_weight(problem.b), nan=0.0, posinf=0.0, neginf=0.0)
