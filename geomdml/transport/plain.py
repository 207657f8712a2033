"""Sinkhorn's plain iteration, for one small problem on the CPU whose kernel does not vanish.

There an iteration is so short that calls cost more than what they compute, and NumPy's cost a fraction of torch's.
"""

import math

import numpy as np
import torch
from torch import Tensor

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
    C, a, b = problem.cost.numpy()[0], problem.a.numpy()[0, 0], problem.b.numpy()[0, 0]
    eps, (lowest, highest) = problem.reg.item(), (float(x) for x in finite_range(problem.cost))
    if not highest - lowest <= eps * _DEEPEST[problem.cost.dtype] or not (a.min() > 0 < b.min()):
        return None, None, 0
    K = lowest - C
    K /= eps
    np.exp(K, out=K)
    mass, before, looked = a.sum(), math.inf, 0
    s = K @ b
    for n in range(1, max_iter + 1):
        x = a / s
        y = b / (x @ K)
        s = K @ y
        if n % _LOOKS and n < max_iter:
            continue
        error = float(np.abs(x * s - a).sum() / mass)
        if error <= tol or not error < math.inf:
            break
        to_come = math.log(error / tol) * (n - looked) / max(math.log(before / error), 1e-9)
        if n == max_iter or to_come > _SWEEPS:
            return None, torch.from_numpy(eps * np.log(y)).view_as(problem.b), n
        before, looked = error, n
    if not (error <= tol and x.min() > 0 < y.min()):  # weights next to nothing
        return None, None, n
    K *= y
    K *= x[:, None]
    f, g = eps * np.log(x) + lowest, eps * np.log(y)
    found = K[None], f[None, None], g[None, None], np.array([float(n)]), np.array([error])
    return Solution(*map(torch.from_numpy, found)), None, n
