"""Distances of several implementations in turn in one process, `python -m benchmarks.one_turn JSON`.

For `benchmarks.distances`: small sizes and points with themselves, against the formula of one matrix product. What
a busy machine does to one call it does to the next, so that ratios hold where single times do not.
"""

import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.implementations import C
from benchmarks.products import geoopt_cdist, meru, with_time
from geomdml import lorentz, poincare, tangent

BASE = "MERU's formula"
ONE_TO_ONE_BASE = "geoopt dist"
RADIUS = 0.5  # √c‖u‖
Step = Callable[[], None]


def matrices(b: int, p: int, d: int, itself: bool) -> dict[str, Step]:
    """Forward and backward of all pairs of the same points, each implementation in its own coordinates."""
    u, v = (RADIUS / C**0.5 * torch.nn.functional.normalize(torch.randn(n, d)) for n in (b, p))
    X, Y = (lorentz.from_ball(tangent.to_ball(w, c=C), c=C) for w in (u, v))
    x, y = (tangent.to_ball(w, c=C) for w in (u, v))
    given = {
        BASE: (meru, X, Y),
        "geoopt main's Lorentz.cdist": (geoopt_cdist, with_time(X), with_time(Y)),
        "geomdml.tangent": (lambda a, b: tangent.pairwise_dist(a, b, c=C), u, v),
        "geomdml.lorentz": (lambda a, b: lorentz.pairwise_dist(a, b, c=C), X, Y),
        "geomdml.poincare": (lambda a, b: poincare.pairwise_dist(a, b, c=C), x, y),
    }
    return {name: step(f, a, a if itself else b) for name, (f, a, b) in given.items()}


def one_to_one(b: int, k: int, d: int) -> dict[str, Step]:
    """Forward and backward of (B, 1, D) against (B, K, D)."""
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # torch.jit.script is deprecated
        from geoopt import PoincareBall
    ball = PoincareBall(c=C)
    u, v = 0.2 * torch.randn(b, 1, d), 0.2 * torch.randn(b, k, d)
    x, y = (tangent.to_ball(w, c=C) for w in (u, v))
    X, Y = (lorentz.from_ball(w, c=C) for w in (x, y))
    return {
        ONE_TO_ONE_BASE: step(ball.dist, x, y),
        "geoopt dist of expmap0": step(lambda a, b: ball.dist(ball.expmap0(a), ball.expmap0(b)), u, v),
        "geomdml.tangent": step(lambda a, b: tangent.dist(a, b, c=C), u, v),
        "geomdml.lorentz": step(lambda a, b: lorentz.dist(a, b, c=C), X, Y),
        "geomdml.poincare": step(lambda a, b: poincare.dist(a, b, c=C), x, y),
    }


def step(f: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Step:
    leaf = x.clone().requires_grad_()
    other = leaf if y is x else y.clone().requires_grad_()

    def run() -> None:
        leaf.grad = other.grad = None
        f(leaf, other).sum().backward()

    return run


def turns(size: tuple[int, int, int], kind: str, threads: int, seconds: float) -> dict[str, list[float]]:
    """Seconds of each implementation: the fastest call and the median."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    steps = one_to_one(*size) if kind == "one to one" else matrices(*size, itself=kind == "itself")
    taken: dict[str, list[float]] = {name: [] for name in steps}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken[next(iter(taken))]) < 4:  # the first round loads code
        for name, run in steps.items():
            start = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - start)
    return {name: [min(times[1:]), statistics.median(times[1:])] for name, times in taken.items()}


if __name__ == "__main__":
    print(json.dumps(turns(**json.loads(sys.argv[1]))))
