"""The iteration: Sinkhorn from a large ε down to the one asked for, with Newton's steps where that is slow.

Measured (docs/transport.md), products with K until the marginals are met to 1e-6: plain iterations need thousands at
reg = 0.002·max C; over-relaxation ten times fewer on smooth costs, and as many as before where the plan is close to a
permutation, because its factor cannot be found there; Anderson's acceleration about a thousand there, without a
guarantee; Newton's steps tens, and hundreds where the plan is close to a permutation. Extrapolating the potentials in
ε from one level to the next halves these once more.
"""

import math

import numpy as np
import torch
from torch import Tensor

from geomdml.transport.newton import newton_step
from geomdml.transport.problem import Array, Problem, Solution, first
from geomdml.transport.scaling import Scaling, Side

FACTOR = 4.0  # between two levels of ε
FIRST = 0.25  # the first level, as a share of the range of the costs: K has no small entries there
LEVEL_TOL = 1e-2  # error of the marginals at which a level hands over to the next
SWEEPS = 15  # more than these still to come are worth a step of Newton's
WARM_UP = 6  # iterations of Sinkhorn's at each level before its rate is trusted
PATIENCE = 40  # looks without a better error after which rounding is all that is left


@torch.compiler.disable
@torch.no_grad()
def solve(problem: Problem, tol: float, max_iter: int, start: tuple[Tensor | None, Tensor | None]) -> Solution:
    """Without gradient, from potentials f, g (B, 1, ·) where they are given."""
    if problem.cost.shape[-2] > problem.cost.shape[-1]:  # Newton's systems are as large as there are rows
        return solve(problem.flipped(), tol, max_iter, start[::-1]).flipped()
    sides = Side.of(problem.a, problem.penalty[0]), Side.of(problem.b, problem.penalty[1])
    warm = start != (None, None)
    levels = [problem.reg] if warm else _levels(problem)
    state = Scaling(problem.cost, sides, levels[0], first(problem, *start))
    count: Array = np.zeros(len(problem.cost))
    earlier: tuple[Tensor, Tensor] | None = None
    for eps in levels:
        if eps is not levels[0]:
            _, g = state.relative()
            guess = g if earlier is None else g + (g - earlier[1]) * ((eps - state.eps) / (state.eps - earlier[0]))
            earlier, state.eps = (state.eps, g), eps
            state.absorb(guess)
        goal = tol if eps is levels[-1] else max(LEVEL_TOL, tol)
        error, used = _iterate(state, goal, max_iter - count.max())
        count = count + used
    if warm and count.max() < max_iter and not (error <= tol).all():  # a bad start, worse than none
        cold = solve(problem, tol, int(max_iter - count.max()), (None, None))
        return cold._replace(iterations=cold.iterations + count)
    return Solution(state.plan(), *state.relative(), count, error)


def _levels(problem: Problem) -> list[Tensor]:
    """ε from FIRST of the range of each problem's costs down to its reg, by a factor of at most FACTOR."""
    spread = problem.cost.flatten(1).amax(-1) - problem.cost.flatten(1).amin(-1)
    ratio = (FIRST * spread.view(-1, 1, 1) / problem.reg).clamp(min=1.0)
    steps = int(math.log(float(ratio.max())) / math.log(FACTOR))
    return [problem.reg * ratio ** (k / steps) for k in range(steps, 0, -1)] + [problem.reg]


def _iterate(state: Scaling, tol: float, most: int) -> tuple[Array, Array]:
    """Error and iterations of each problem, at the tolerance or where it goes no further."""
    apart = _looks_apart(state.cost)
    mass = state.rows.weight.sum(-1).flatten().cpu().double().numpy()
    best, before, idle, used = np.full_like(mass, np.inf), np.full_like(mass, np.inf), 0 * mass, 0 * mass
    newton = 0 * mass  # iterations within Newton's steps
    n, look, looked = 0, apart, 0
    while True:
        s = state.row_sums()
        n += 1
        if n < min(look, most):
            state.sweep(s)
            continue
        error = state.row_error(s).cpu().double().numpy() / mass
        unmet = ~(error <= tol)
        used = np.where(unmet | (used == 0), n + newton, used)
        idle = np.where(error < 0.99 * best, 0, idle + 1)
        best = np.minimum(best, error)
        going = unmet & (idle < PATIENCE) & (used < most)
        if not going.any():
            return error, used
        with np.errstate(divide="ignore", invalid="ignore"):
            to_come = (n - looked) * np.log(tol / error) / np.minimum(np.log(error / before), -1e-9)
        slow = going & (to_come > SWEEPS) & (n > WARM_UP)
        before, looked = np.where(slow, np.inf, error), n
        if slow.any():
            newton += newton_step(state, s, torch.from_numpy(slow), torch.from_numpy(tol * mass).to(s)) * slow
            look = n + 1
        else:
            state.sweep(s)
            look = n + int(np.clip(np.min(to_come[going]), 1, apart))
        if state.beyond_reach():
            state.absorb(state.relative()[1])


def _looks_apart(cost: Tensor) -> int:
    """Iterations from one look at the error to the next: on a GPU, and for small problems, a look takes longer."""
    return 8 if cost.device.type != "cpu" else 6 if cost.numel() < 2**15 else 1
