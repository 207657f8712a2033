"""What does transport between clouds of points cost without a matrix? `python -m benchmarks.points`

`sinkhorn_points` beside POT's lazy solver and geomloss's tensorised one (its others need KeOps), and `sinkhorn` of the
matrix of costs: clouds in 64 dimensions, squared distances, reg a tenth of the largest cost, float32, with the gradient
of the first cloud where a solver has one. POT stops at the same error of the marginals; geomloss goes down a fixed
ladder of regularisations. Each in a process of its own; what takes longer than `--limit` says so. The error is that of
the marginals, in L1, in float64. Table and figures go to `--out`.
"""

import argparse
import csv
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.distance_report import figure, memory
from benchmarks.machine import machine
from benchmarks.measuring import in_own_process
from benchmarks.one_points import WAYS

HEADER = ["points", "", "s", "memory added", "error of the marginals"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2_000, 5_000, 20_000], help="points of each cloud")
    parser.add_argument("--only", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds a measurement may take")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    facts = machine(options.threads, ("torch", "POT", "geomloss"))
    console, lines = Console(), []
    table = Table(*HEADER, title=f"Clouds in {options.dim} dimensions")
    for count in options.sizes:
        for name in options.only:
            asked = {"name": name, "count": count, "dim": options.dim, "threads": options.threads}
            found = in_own_process("benchmarks.one_points", asked, options.limit)
            line = [f"{count:,}", name]
            if "failed" in found:
                line += [found["failed"], "", ""]
            else:
                line += [figure(found["seconds"]), memory(found["bytes"]), f"{found['error']:.1e}"]
            console.print(", ".join(line), highlight=False)
            table.add_row(*line)
            lines.append(line)
    console.print(table)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "points.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*HEADER, *facts])
        writer.writerows([*line, *facts.values()] for line in lines)


if __name__ == "__main__":
    main()
