"""Sinkhorn's plain iteration, for one small problem on the CPU whose kernel does not vanish.

There an iteration is so short that calls cost more than what they compute, and NumPy's cost a fraction of torch's.
"""

import math

import numpy as np
import torch
from torch import Tensor

from geomdml.transport.compiled import sweeps_of
from geomdml.transport.problem import Problem, Solution, finite_range

__all__ = ["plain"]

_LARGEST = 2**16  # entries; beyond, the time goes into the arithmetic
_DEEPEST = {torch.float32: 40.0, torch.float64: 250.0}  # of −log K: scalings reach as far up, and have room
_LOOKS = 3  # iterations from one look at the error to the next
_SWEEPS = 100  # more than these still to come take longer than Newton's steps


@np.errstate(all="ignore")
def plain(problem: Problem, tol: float, max_iter: int) -> tuple[Solution | None, Tensor | None, int]:
    """The solution, if not many iterations bring it, else a g to start from, if any; and the iterations taken."""
    if not problem.balanced or problem.cost.device.type != "cpu":
        return None, None, 0
    if len(problem.cost) != 1 or problem.cost.numel() > _LARGEST:
        return None, None, 0
    C, a, b = problem.cost.numpy()[0], *(np.ascontiguousarray(w.numpy()[0, 0]) for w in (problem.a, problem.b))
    eps, lowest, highest = problem.reg.item(), float(C.min()), float(C.max())
    deepest = eps * _DEEPEST[problem.cost.dtype]
    if highest - lowest > deepest:
        lowest, highest = (float(x) for x in finite_range(problem.cost))
    if not highest - lowest <= deepest or not (a.min() > 0 < b.min()):
        return None, None, 0
    K = lowest - C
    K /= eps
    np.exp(K, out=K)
    mass, before, n = a.sum(), math.inf, 0
    x, y, s = np.empty_like(a), np.empty_like(b), K @ b
    sweeps = sweeps_of(K, a, b, x, y, s)
    while True:
        count = min(_LOOKS, max_iter - n)
        sweeps(count)
        n += count
        error = float(np.abs(x * s - a).sum() / mass)
        if error <= tol or not error < math.inf:
            break
        to_come = math.log(error / tol) * count / max(math.log(before / error), 1e-9)
        if n == max_iter or to_come > _SWEEPS:
            return None, torch.from_numpy(eps * np.log(y)).view_as(problem.b), n
        before = error
    if not (error <= tol and x.min() > 0 < y.min()):  # weights next to nothing
        return None, None, n
    K *= y
    K *= x[:, None]
    f, g = eps * np.log(x) + lowest, eps * np.log(y)
    found = K[None], f[None, None], g[None, None], np.array([float(n)]), np.array([error])
    return Solution(*map(torch.from_numpy, found)), None, n
