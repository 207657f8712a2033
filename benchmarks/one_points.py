"""Cost of one solver for two clouds of points, `python -m benchmarks.one_points JSON`; for `benchmarks.points`."""

import json
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.measuring import forget_peak, peak, yield_memory_first
from geomdml.spaces import Hyperbolic
from geomdml.transport import sinkhorn, sinkhorn_points

TOLERANCE = 1e-5  # of the marginals, in L1
Found = tuple[Tensor, Tensor]  # potentials
HYPERBOLIC = "geomdml, hyperbolic"


def by_points(x: Tensor, y: Tensor, reg: float) -> Found:
    found = sinkhorn_points(x, y, reg, tol=TOLERANCE)
    found.value.backward()
    return found.f, found.g


def hyperbolic(x: Tensor, y: Tensor, reg: float) -> Found:
    found = sinkhorn_points(x, y, reg, tol=TOLERANCE, space=Hyperbolic(c=1.0))
    found.value.backward()
    return found.f, found.g


def by_matrix(x: Tensor, y: Tensor, reg: float) -> Found:
    found = sinkhorn(torch.cdist(x, y).square(), reg, tol=TOLERANCE)
    found.value.backward()
    return found.f, found.g


def pot(x: Tensor, y: Tensor, reg: float) -> Found:
    from ot.bregman import empirical_sinkhorn

    x_, y_ = x.detach().numpy(), y.numpy()
    f, g, _ = empirical_sinkhorn(
        x_, y_, reg, isLazy=True, batchSize=2048, numIterMax=10_000, stopThr=TOLERANCE, log=True
    )
    f, g = (torch.from_numpy(np.asarray(potential)).double() for potential in (f, g))
    return reg * f, reg * g


def geomloss(x: Tensor, y: Tensor, reg: float) -> Found:
    from geomloss import SamplesLoss

    # Its cost is half the square, its regularisation blur².
    options = {"loss": "sinkhorn", "p": 2, "blur": (reg / 2) ** 0.5, "debias": False, "backend": "tensorized"}
    SamplesLoss(**options)(x, y).backward()
    f, g = SamplesLoss(**options, potentials=True)(x.detach(), y)
    return 2 * f.double().view(-1), 2 * g.double().view(-1)


WAYS: dict[str, Callable[[Tensor, Tensor, float], Found]] = {
    "geomdml": by_points,
    HYPERBOLIC: hyperbolic,
    "geomdml, matrix": by_matrix,
    "POT, lazy (no gradient)": pot,
    "geomloss, tensorised": geomloss,
}


def error(x: Tensor, y: Tensor, reg: float, f: Tensor, g: Tensor, curved: bool) -> float:
    """How far the plan's marginals are from uniform, once a constant of the potentials' convention is taken off."""
    n, m = len(x), len(y)
    rows, columns = torch.zeros(n, dtype=torch.float64), torch.zeros(m, dtype=torch.float64)
    x, y = x.detach().double(), y.double()
    for at in torch.arange(n).split(512):
        cost = Hyperbolic(c=1.0).pairwise_dist(x[at], y).square() if curved else torch.cdist(x[at], y).square()
        tile = ((f.double()[at, None] + g.double() - cost) / reg).exp()
        rows[at] = tile.sum(1)
        columns += tile.sum(0)
    mass = rows.sum()
    return float((rows / mass - 1 / n).abs().sum() + (columns / mass - 1 / m).abs().sum())


def cost(name: str, count: int, dim: int, threads: int) -> dict[str, float]:
    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")  # that a rival did not converge is told by its error

    def clouds(count: int) -> tuple[Tensor, Tensor, float]:
        draw = torch.Generator().manual_seed(0)
        x, y = (torch.randn(count, dim, generator=draw) / dim**0.5 for _ in range(2))
        y += 0.2
        ends = (
            Hyperbolic(c=1.0).pairwise_dist(x[:500], y[:500]) if name == HYPERBOLIC else torch.cdist(x[:500], y[:500])
        )
        return x.requires_grad_(), y, 0.1 * float(ends.square().max())

    WAYS[name](*clouds(50))  # loads code and starts threads
    x, y, reg = clouds(count)
    before, start = forget_peak("cpu"), time.perf_counter()
    f, g = WAYS[name](x, y, reg)
    seconds, added = time.perf_counter() - start, peak("cpu") - before
    return {"seconds": seconds, "bytes": added, "error": error(x, y, reg, f, g, name == HYPERBOLIC)}


if __name__ == "__main__":
    yield_memory_first()
    print(json.dumps(cost(**json.loads(sys.argv[1]))))
