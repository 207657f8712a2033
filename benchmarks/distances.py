"""Are hyperbolic distances right, and what do they cost? `python -m benchmarks.distances`

Accuracy: the relative error in float32 over random pairs at one radius, against fifty digits. Each implementation is
held to the floats that it is given: points of the ball to the distance of those points, tangent vectors to theirs.
Cost: forward and backward of all pairs, in a process of its own, beside a float32 matrix product of the same size in
the same run, with the peak memory that it added. And in turn in one process, at small sizes, one to one, and of points
with themselves: against the formula of one product of the Lorentz model. What broadcasts and would not fit into memory,
judged by its peak at a small size, is left out and says so. Tables, figures and plots go to `--out`, also when the run
is broken off.
"""

import argparse
import itertools
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from benchmarks import distance_report
from benchmarks.implementations import IMPLEMENTATIONS, C, Implementation
from benchmarks.machine import machine
from benchmarks.measuring import available, in_own_process
from geomdml import tangent

Size = tuple[int, int, int]
Record = dict[str, Any]

SIZES: list[Size] = [(200, 1000, 384), (75, 22636, 384), (512, 100_000, 512)]
RADII = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0]  # √c‖u‖
DIMENSION, POINTS = 64, 12
PROBE = (200, 1000)  # B and P at which the memory of larger ones is judged
TURNS: list[tuple[Size, str]] = [
    ((16, 16, 8), "all pairs"),
    ((16, 16, 8), "itself"),
    ((50, 50, 64), "all pairs"),
    ((50, 50, 64), "itself"),
    ((200, 1000, 384), "all pairs"),
    ((200, 200, 384), "itself"),
    ((75, 22636, 384), "all pairs"),
    ((75, 75, 384), "itself"),
    ((512, 100_000, 512), "all pairs"),
    ((512, 51, 5), "one to one"),
]
QUICK_SIZES: list[Size] = [(32, 128, 64), (128, 512, 64)]
QUICK_RADII = [0.5, 2.0, 4.0, 8.0]


def accuracy(names: list[str], radius: float, points: int, device: str, tf32: bool) -> Iterator[Record]:
    """Errors of each implementation over all pairs of two lists of random points at one radius."""
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.manual_seed(0)
    u = [radius / C**0.5 * torch.nn.functional.normalize(torch.randn(points, DIMENSION)) for _ in range(2)]
    x = [tangent.to_ball(w, c=C) for w in u]
    exact = {}
    for name in names:
        implementation = IMPLEMENTATIONS[name]
        reference, given = implementation.exact, x if implementation.in_ball else u
        if reference is None:
            continue
        if reference not in exact:
            exact[reference] = [reference(a, b, c=C) for a in given[0] for b in given[1]]
        record = {"name": name, "tf32": tf32, "radius": radius}
        yield record | errors(implementation, [w.to(device) for w in given], exact[reference])


def errors(implementation: Implementation, points: list[Tensor], exact: list[Any]) -> Record:
    try:
        found = implementation.pairwise(*points).cpu().flatten()
    except ModuleNotFoundError:
        return {"failed": "not installed"}
    finite = [float(abs(a - b) / b) for a, b in zip(found.tolist(), exact, strict=True) if abs(a) < float("inf")]
    return {
        "largest": max(finite, default=None),
        "median": statistics.median(finite) if finite else None,
        "nan": int(found.isnan().sum()),
        "inf": int(found.isinf().sum()),
        "pairs": len(exact),
    }


def cost(name: str, size: Size, device: str, tf32: bool, seconds: float) -> Record:
    """Seconds and memory of one implementation at one size, or why there are none."""
    arguments = {"name": name, "size": size, "device": device, "tf32": tf32, "seconds": seconds}
    times_larger = size[0] * size[1] / (PROBE[0] * PROBE[1])
    result: Record = {}
    if IMPLEMENTATIONS[name].broadcasts and times_larger > 2:
        result = in_own_process("benchmarks.one_distance", {**arguments, "size": (*PROBE, size[2]), "seconds": 0})
        needed = result.get("bytes", 0) * times_larger
        if needed > available(device):
            result["failed"] = f"needs {distance_report.memory(needed)}"
    if "failed" not in result:
        result = in_own_process("benchmarks.one_distance", arguments)
    return {"name": name, "tf32": tf32, "size": size} | ({"failed": result["failed"]} if "failed" in result else result)


def in_turn(size: Size, kind: str, threads: int, seconds: float) -> Record:
    """Seconds of the implementations that are measured in turn."""
    arguments = {"size": size, "kind": kind, "threads": threads, "seconds": seconds}
    return {"size": size, "kind": kind, "threads": threads, "times": in_own_process("benchmarks.one_turn", arguments)}


def size_of(text: str) -> Size:
    b, p, d = map(int, text.split("x"))
    return b, p, d


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=size_of, nargs="+", metavar="BxPxD", help="such as 200x1000x384")
    parser.add_argument("--only", nargs="+", choices=list(IMPLEMENTATIONS), default=list(IMPLEMENTATIONS))
    parser.add_argument("--turns", action="store_true", help="only what is measured in turn")
    parser.add_argument("--quick", action="store_true", help="small sizes and few points: to see whether it works")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda: with and without TF32")
    parser.add_argument("--seconds", type=float, help="how long each measurement is repeated")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no GPU here")
    sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
    radii = QUICK_RADII if options.quick else RADII
    if options.turns:
        sizes, radii = [], []
    seconds = options.seconds or (0.1 if options.quick else 3.0)
    products = [False, True] if options.device == "cuda" else [False]  # float32 or TF32

    console = Console(width=None if sys.stdout.isatty() else 120)
    gpu = torch.cuda.get_device_name() if options.device == "cuda" else ""
    results: Record = {"machine": machine(torch.get_num_threads(), gpu=gpu), "accuracy": [], "cost": [], "turns": []}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    turns = [] if options.device == "cuda" else TURNS[:2] if options.quick else TURNS
    counts = sorted({1, torch.get_num_threads()})
    jobs = len(radii) + len(sizes) * len(options.only) + len(turns) * len(counts)
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("", total=jobs * len(products))
            for threads, (size, kind) in itertools.product(counts, turns):
                progress.update(task, description=f"{kind} in turn at {distance_report.times(size)}")
                results["turns"].append(in_turn(size, kind, threads, seconds))
                distance_report.save(results, options.out)
                progress.advance(task)
            for tf32 in products:
                for radius in radii:
                    progress.update(task, description=f"accuracy at radius {radius:g}")
                    results["accuracy"] += accuracy(
                        options.only, radius, 4 if options.quick else POINTS, options.device, tf32
                    )
                    progress.advance(task)
                for size in sizes:
                    for name in options.only:
                        progress.update(task, description=f"{name} at {distance_report.times(size)}")
                        results["cost"].append(cost(name, size, options.device, tf32, seconds))
                        progress.console.print(distance_report.line(results["cost"][-1]), highlight=False)
                        distance_report.save(results, options.out)
                        progress.advance(task)
    except KeyboardInterrupt:
        console.print("Stopped; what was measured is kept.")
    distance_report.save(results, options.out)
    distance_report.show(results, console)
    distance_report.write(results, options.out)
    console.print(f"Tables, figures and plots: {options.out}")


if __name__ == "__main__":
    main()
