"""Newton's method in the log domain, slow and sure, for small problems on which the fast iteration gives up.

What makes it give up is a kernel that has lost an entry the plan needs: blocks of the plan are linked by entries that
are too small as yet for the number format, or a weight is next to nothing. Here no entry is lost, because slopes are
computed from logarithms at whatever distance; each level of ε is solved to the tolerance itself, so that a link that
carries little mass is found while it still carries some.

The function maximised is the semi-dual of `geomdml.transport.newton`, concave in the row potentials f. Along Newton's
direction the root of its slope is bracketed by doubling and found by bisection.
"""

import math

import numpy as np
import torch
from torch import Tensor

from geomdml.transport.problem import Array, Problem, Solution, finite_range

__all__ = ["LARGEST", "rescue"]

LARGEST = 2**16  # entries; a step costs an eigenvalue decomposition of the smaller side
_FACTOR = 2.0  # between two levels of ε
_FIRST = 0.25  # the first level, as a share of the range of the costs
_STEPS = 60  # Newton's steps at a level
_DOUBLINGS, _BISECTIONS = 60, 20
_FLAT = 1e-13  # eigenvalues below are taken for it: the direction of a shift of blocks that nothing links as yet
_FAINT = 1e-200  # share of the mass; rows of less are moved by Sinkhorn's iteration alone


@np.errstate(all="ignore")
def rescue(problem: Problem, tol: float) -> Solution:
    """One problem, which may have weights of 0; without gradient."""
    C, a, b, eps = (x[0].detach().double().cpu().numpy() for x in problem[:4])
    rows, columns = a[0] > 0, b[0] > 0
    dual = _SemiDual(C[rows][:, columns], a[0, rows], b[0, columns], problem.penalty)
    target = float(eps.item())
    low, high = finite_range(problem.cost.detach()[:, torch.from_numpy(rows)][:, :, torch.from_numpy(columns)])
    ratio = max(1.0, _FIRST * float(high - low) / target)
    count = math.ceil(math.log(ratio, _FACTOR)) if ratio > 1 else 0
    found, iterations = np.zeros(len(dual.a)), 0
    solved: list[tuple[float, Array]] = []
    for level in [target * ratio ** (k / count) for k in range(count, 0, -1)] + [target]:
        if len(solved) >= 2:
            (before, f_before), (last, f_last) = solved[-2:]
            found = f_last + (f_last - f_before) * ((level - last) / (last - before))
        found, used = dual.solve(found, level, tol)
        solved.append((level, found))
        iterations += used
    g, T, _ = dual.plan(found, target)
    plan, f, g_all = np.zeros_like(C), np.full(len(rows), -np.inf), np.full(len(columns), -np.inf)
    plan[np.ix_(rows, columns)], f[rows], g_all[columns] = T, found, g

    def back(array: Array, like: Tensor) -> Tensor:
        return torch.from_numpy(array).to(like).view_as(like)

    result = back(plan, problem.cost)
    off = np.abs(result.double().cpu().numpy()[0, rows].sum(-1) - dual.row_target(found)).sum() / dual.a.sum()
    steps, error = (torch.tensor([float(number)], dtype=torch.float64) for number in (iterations, off))
    return Solution(result, back(f, problem.a), back(g_all, problem.b), steps, error)


class _SemiDual:
    """The dual as a function of the row potentials alone, the columns at their optimum; weights above 0."""

    def __init__(self, C: Array, a: Array, b: Array, penalty: tuple[float, float]) -> None:
        self.C, self.a, self.b, (self.rho_a, self.rho_b) = C, a, b, penalty
        self.log_a, self.log_b = np.log(a), np.log(b)
        self.singular = math.isinf(self.rho_a) and math.isinf(self.rho_b)

    def row_target(self, f: Array) -> Array:
        return self.a * np.exp(-f / self.rho_a)

    def plan(self, f: Array, eps: float) -> tuple[Array, Array, Array]:
        """g, the plan, and the slope by f/ε: the target of the rows less what they are."""
        exponent = (f[:, None] - self.C) / eps
        g = (self.log_b - _logsumexp(exponent, 0)) * eps / (1 + eps / self.rho_b)
        T = np.exp(exponent + g / eps)
        return g, T, self.row_target(f) - T.sum(1)

    def sweep(self, f: Array, eps: float) -> Array:
        """One iteration of Sinkhorn's."""
        g = self.plan(f, eps)[0]
        return (self.log_a - _logsumexp((g - self.C) / eps, 1)) * eps / (1 + eps / self.rho_a)

    def solve(self, f: Array, eps: float, tol: float) -> tuple[Array, int]:
        """Row potentials, and iterations taken."""
        best, least = f, math.inf
        for step in range(_STEPS):
            f = self.sweep(f, eps)
            _, T, slope = self.plan(f, eps)
            error = float(np.abs(slope).sum() / self.a.sum())
            if error < least:
                best, least = f, error
            if least <= 0.5 * tol:
                return best, step + 1
            direction = self._direction(f, T, slope, eps)
            f = f + self._length(f, eps, direction, float(slope @ direction)) * eps * direction
        return best, _STEPS

    def _direction(self, f: Array, T: Array, slope: Array, eps: float) -> Array:
        """Newton's, in f/ε."""
        r, c, seen = T.sum(1), T.sum(0), self.a > _FAINT * self.a.sum()
        diagonal = np.where(seen, r + self.row_target(f) * (eps / self.rho_a), 1.0)
        seen &= diagonal > 0
        root = np.sqrt(np.where(seen, diagonal, 1.0))
        P = np.where(seen[:, None], T, 0.0) / root[:, None] / np.sqrt(np.where(c > 0, c, 1.0) * (1 + eps / self.rho_b))
        values, vectors = np.linalg.eigh(np.eye(len(r)) - P @ P.T)
        along = vectors.T @ (np.where(seen, slope, 0.0) / root)
        direction = np.where(seen, vectors @ (along / np.maximum(values, _FLAT)) / root, 0.0)
        return direction - (direction[seen].mean() if self.singular and seen.any() else 0.0) * seen

    def _length(self, f: Array, eps: float, direction: Array, first: float) -> float:
        """How far the slope along the direction stays above 0; 0 for a direction that does not rise."""
        if not (first > 0 and math.isfinite(first) and np.isfinite(direction).all()):
            return 0.0

        def slope(length: float) -> float:
            return float(self.plan(f + length * eps * direction, eps)[2] @ direction)

        low, high = 0.0, min(1.0, 1e6 / float(np.abs(direction).max()))
        for _ in range(_DOUBLINGS):
            there = slope(high)
            if abs(there) <= 0.1 * first:
                return high
            if not there > 0:
                break
            low, high = high, 2 * high
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            there = slope(middle)
            if abs(there) <= 0.1 * first:
                return middle
            low, high = (middle, high) if there > 0 else (low, middle)
        return low


def _logsumexp(x: Array, axis: int) -> Array:
    top = x.max(axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.exp(x - top).sum(axis))
