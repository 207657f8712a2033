"""The iteration: Sinkhorn from a large ε down to the one asked for, with Newton's steps where that is slow.

Measured (docs/reports/transport.md), products with K until the marginals are met to 1e-6: plain iterations need
thousands at reg = 0.002·max C; over-relaxation ten times fewer on smooth costs, and as many as before where the plan
is close to a permutation, because its factor cannot be found there; Anderson's acceleration about a thousand there,
without a guarantee; Newton's steps tens, and hundreds where the plan is close to a permutation. Extrapolating the
potentials in ε from one level to the next halves these once more.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geomdml.transport.newton import newton_step
from geomdml.transport.plain import plain
from geomdml.transport.problem import Array, Problem, Solution, finite_range, first
from geomdml.transport.rescue import LARGEST, rescue
from geomdml.transport.scaling import Scaling, Side

__all__ = ["iterate", "reach", "solve"]

_FACTOR = 4.0  # between two levels of ε
_FIRST = 0.25  # the first level, as a share of the range of the costs: K has no small entries there
_NEAR = 0.1  # error after _WARM_UP iterations at reg itself, below which no other level is needed
_LEVEL_TOL = 1e-2  # error of the marginals at which a level hands over to the next
_SWEEPS = 30  # more than these still to come are worth a step of Newton's
_WARM_UP = 6  # iterations of Sinkhorn's at each level before its rate is trusted
_PATIENCE = 40  # looks without a better error after which rounding is all that is left


def solve(problem: Problem, tol: float, max_iter: int, start: tuple[Tensor | None, Tensor | None]) -> Solution:
    """Of a problem without gradient, from potentials f, g (B, 1, ·) where they are given."""
    if problem.cost.shape[-2] > problem.cost.shape[-1]:  # Newton's systems are as large as there are rows
        return solve(problem.flipped(), tol, max_iter, start[::-1]).flipped()
    count = 0
    if start == (None, None):
        found, g, count = plain(problem, tol, max_iter)
        if found is not None:
            return found
        start = None, g
    found = _fast(problem, tol, max_iter, start, count)
    return found if problem.cost[0].numel() > LARGEST else _rescued(problem, found, tol, max_iter)


def _fast(
    problem: Problem, tol: float, max_iter: int, start: tuple[Tensor | None, Tensor | None], tried: int
) -> Solution:
    """By scalings, after iterations that were `tried`."""
    sides = Side.of(problem.a, problem.penalty[0]), Side.of(problem.b, problem.penalty[1])
    state = Scaling(problem.cost, sides, problem.reg, first(problem, *start))
    low, high = finite_range(problem.cost)
    error, count = reach(state, high - low, tol, max_iter - tried)
    return Solution(state.plan(), *state.absolute(), torch.from_numpy(count + tried), torch.from_numpy(error))


def reach(state: Scaling, spread: Tensor, tol: float, max_iter: int) -> tuple[Array, Array]:
    """Error and iterations of each problem at its ε, if need be by way of larger ones; `spread` (B,) of the costs."""
    error, count = iterate(state, tol, max_iter, bail_out=_NEAR)
    if not (error <= tol).all() and count.max() < max_iter:
        error, used = _descend(state, _levels(state.eps, spread), tol, max_iter - count.max())
        count = count + used
    return error, count


def _rescued(problem: Problem, found: Solution, tol: float, max_iter: int) -> Solution:
    """The solution, where it was given up for other reasons than `max_iter` by slower means."""
    lost = [~(u.isfinite() | (w == 0)).all(-1) for u, w in ((found.f, problem.a), (found.g, problem.b))]
    unmet = ~(found.error <= tol) | (lost[0] | lost[1]).flatten().cpu()
    if not unmet.any() or found.iterations.max() >= max_iter:
        return found
    plan, f, g = (x.clone() for x in found[:3])
    iterations, error = found.iterations.clone(), found.error.clone()
    for i in unmet.nonzero().flatten().tolist():
        one = slice(i, i + 1)
        cost, a, b, reg = (x[one] for x in problem[:4])
        other = rescue(Problem(cost, a, b, reg, problem.penalty), tol)
        if not error[i] <= other.error[0] or other.error[0] <= tol:
            plan[one], f[one], g[one], error[one] = other.plan, other.f, other.g, other.error
        iterations[one] += other.iterations
    return Solution(plan, f, g, iterations, error)


def _descend(state: Scaling, levels: list[Tensor], tol: float, most: int | float) -> tuple[Array, Array]:
    """Error and iterations of each problem, solved for one ε after the other, to `tol` for the last."""
    guess, count = torch.zeros_like(state.g0), np.zeros(len(state.eps))
    solved: list[Tensor] = []
    for eps in levels:
        if len(solved) >= 2:
            guess = solved[-1] + (solved[-1] - solved[-2]) * (eps / state.eps)  # linear in ε, at levels ε, rε, r²ε
        elif solved:
            guess = solved[-1]
        state.eps = eps
        state.absorb(guess)
        error, used = iterate(state, tol if eps is levels[-1] else max(_LEVEL_TOL, tol), most - count.max())
        count = count + used
        solved.append(state.relative())
    return error, count


def _levels(reg: Tensor, spread: Tensor) -> list[Tensor]:
    """ε from _FIRST of the spread of each problem's costs down to its reg, by _FACTOR or a little more."""
    ratio = (_FIRST * spread.view(-1, 1, 1) / reg).clamp(min=1.0)
    steps = int(math.log(float(ratio.max())) / math.log(_FACTOR))
    return [*(reg * ratio ** (k / steps) for k in range(steps, 0, -1)), reg]


def iterate(state: Scaling, tol: float, most: int | float, bail_out: float = math.inf) -> tuple[Array, Array]:
    """Error and iterations of each problem, at the tolerance or where it goes no further.

    An error above `bail_out` after _WARM_UP iterations ends it too.
    """
    apart = _looks_apart(state.K)
    mass = state.rows.weight.sum(-1).flatten().cpu().double().numpy()
    best = before = np.full_like(mass, np.inf)
    idle = used = newton = np.zeros_like(mass)  # newton: iterations within Newton's steps
    unmet = np.ones_like(mass, dtype=bool)
    n, looked, look = 0, 0, _WARM_UP // 2 if apart > 1 else 1
    while True:
        s = state.row_sums()
        n += 1
        if n < look and n < most:
            state.sweep(s)
            continue
        error = state.row_error(s).cpu().double().numpy() / mass
        used = np.where(unmet, n + newton, used)
        unmet = ~(error <= tol)
        if not unmet.any() or (n >= _WARM_UP > looked and not error.max() <= bail_out):
            return error, used
        idle = np.where(error < 0.99 * best, 0, idle + 1)
        best = np.minimum(best, error)
        going = unmet & (idle < _PATIENCE) & (used < most) & np.isfinite(error)
        if not going.any():
            return error, used
        to_come = _to_come(error, before, tol) * (n - looked)
        slow = going & (to_come > _SWEEPS) & (n >= _WARM_UP)
        if slow.any():
            newton = newton + newton_step(state, s, torch.from_numpy(slow), torch.from_numpy(tol * mass).to(s)) * slow
            before, look = np.where(slow, np.inf, error), n + 1
        else:
            state.sweep(s)
            before, look = error, n + min(apart, int(min(to_come[going])) or _WARM_UP // 2)
        looked = n
        if state.beyond_reach():
            state.absorb(state.relative())


def _to_come(error: Array, before: Array, tol: float) -> Array:
    """How many times as long as from `before` to `error` it takes from there to tol, at that rate; 0 if not known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(tol / error) / np.minimum(np.log(error / before), -1e-9)


def _looks_apart(kernel: Any) -> int:
    """Iterations from one look at the error to the next: on a GPU, and for small problems, a look takes longer."""
    return 8 if kernel.device.type != "cpu" or kernel.numel() < 2**18 else 1
