"""Are hyperbolic distances right, and what do they cost? `python -m benchmarks.distances`

Accuracy: the largest relative error in float32 over random pairs at one radius, against fifty digits. Each
implementation is held to the floats that it is given: points of the ball to the exact distance of those points, tangent
vectors to theirs. Cost: forward and backward of all pairs, in a process of its own, as a ratio to a plain float32
matrix product of the same size in the same run, with the peak memory that it added.

Peers: geoopt 0.5.1, and the formula of the Hyp-ViT code (Möbius addition and artanh, clamped), both by broadcasting.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from geomdml import poincare, tangent
from geomdml.testing import oracle

C = 0.5
Pairwise = Callable[[Tensor, Tensor], Tensor]


def geoopt_pairwise(x: Tensor, y: Tensor) -> Tensor:
    from geoopt import PoincareBall

    return PoincareBall(c=C).dist(x.unsqueeze(1), y.unsqueeze(0))


def mobius_pairwise(x: Tensor, y: Tensor) -> Tensor:
    """The textbook form, (2/√c) artanh(√c‖−x ⊕ y‖), clamped below 1 by 1e-5 as the Hyp-ViT code does."""
    xy, xx, yy = -x @ y.T, (x * x).sum(-1, keepdim=True), (y * y).sum(-1)
    a, b = 1 + 2 * C * xy + C * yy, 1 - C * xx
    sum_ = (b.unsqueeze(-1) * y - a.unsqueeze(-1) * x.unsqueeze(1)) / (1 + 2 * C * xy + C * C * xx * yy).unsqueeze(-1)
    return 2 / C**0.5 * torch.atanh((C**0.5 * sum_.norm(dim=-1)).clamp(max=1 - 1e-5))


IN_BALL: dict[str, Pairwise] = {
    "geomdml.poincare": lambda x, y: poincare.pairwise_dist(x, y, c=C),
    "geoopt": geoopt_pairwise,
    "Hyp-ViT formula": mobius_pairwise,
}
TANGENT: dict[str, Pairwise] = {"geomdml.tangent": lambda u, v: tangent.pairwise_dist(u, v, c=C)}
COST: dict[str, Pairwise] = {"matmul": lambda x, y: x @ y.T, **TANGENT, **IN_BALL}


def accuracy(radii: list[float], dim: int, pairs: int) -> Table:
    table = Table(title=f"Largest relative error, float32, D = {dim}, c = {C:g}, {pairs}² random pairs")
    for column in ("radius √c‖u‖", *TANGENT, *IN_BALL):
        table.add_column(column, justify="right")
    for radius in radii:
        torch.manual_seed(0)
        u, v = (torch.nn.functional.normalize(torch.randn(pairs, dim)) * radius / C**0.5 for _ in range(2))
        x, y = tangent.to_ball(u, c=C), tangent.to_ball(v, c=C)
        cells = [
            f"{largest_error(distance(*points), reference, *points):.1e}"
            for functions, reference, points in ((TANGENT, oracle.tangent_dist, (u, v)), (IN_BALL, oracle.dist, (x, y)))
            for distance in functions.values()
        ]
        table.add_row(f"{radius:g}", *cells)
    return table


def largest_error(found: Tensor, reference: oracle.Reference, x: Tensor, y: Tensor) -> float:
    exact = [[reference(a, b, c=C) for b in y] for a in x]
    return max(
        float(abs(value - true) / true)
        for row, truth in zip(found.tolist(), exact, strict=True)
        for value, true in zip(row, truth, strict=True)
    )


def measure(name: str, sizes: tuple[int, int, int]) -> None:
    """In a process of its own: print the seconds of forward and backward, and the peak memory added, in MB."""
    torch.manual_seed(0)
    b, p, d = sizes
    x, y = ((0.5 * torch.randn(n, d) / d**0.5).requires_grad_() for n in (b, p))
    before, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    while len(seconds) < 3 or (sum(seconds) < 2 and len(seconds) < 50):
        start = time.perf_counter()
        COST[name](x, y).sum().backward()
        seconds.append(time.perf_counter() - start)
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(statistics.median(seconds), added)


def cost(sizes: tuple[int, int, int]) -> Table:
    b, p, d = sizes
    table = Table(title=f"Forward + backward, B = {b}, P = {p}, D = {d}, float32, {torch.get_num_threads()} threads")
    for column in ("", "ms", "× matmul", "peak MB added"):
        table.add_column(column, justify="right" if column else "left")
    command = [sys.executable, "-m", "benchmarks.distances", "--sizes", *map(str, sizes), "--measure"]
    figures = {
        name: list(
            map(float, subprocess.run([*command, name], check=True, capture_output=True, text=True).stdout.split())
        )
        for name in COST
    }
    for name, (seconds, added) in figures.items():
        table.add_row(name, f"{1e3 * seconds:.1f}", f"{seconds / figures['matmul'][0]:.1f}", f"{added:.0f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs=3, default=(200, 1000, 384), metavar=("B", "P", "D"))
    parser.add_argument("--measure", choices=list(COST), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        return measure(arguments.measure, tuple(arguments.sizes))
    console = Console(width=110)
    console.print(accuracy([0.5, 1, 2, 3, 4, 6, 8], 64, 12))
    console.print(cost(tuple(arguments.sizes)))


if __name__ == "__main__":
    main()
