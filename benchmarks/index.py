"""How many neighbours does an index find, and how fast? `python -m benchmarks.index`

Recall@10, after exact ranking, against queries a second, of `geomdml.search.HyperbolicIndex` for a million points in
128 dimensions (c = 0.5, radii A up to 4): flat and graph, each in a process of its own. Figures go to `--out`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.distance_report import figure, memory
from benchmarks.machine import machine
from benchmarks.measuring import in_own_process

EFFORTS = {"flat": [1], "graph": [32, 128, 512]}
HEADER = ["", "built in, s", "processor s", "memory", "effort", "recall@10", "queries/s", "per processor s"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--intrinsic", type=int, help="dimension of the subspace that the points fill; all without it")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--only", nargs="+", choices=list(EFFORTS), default=list(EFFORTS))
    parser.add_argument("--quick", action="store_true", help="few points: to see whether it works")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    count, queries = (5000, 100) if options.quick else (options.points, options.queries)
    intrinsic = options.intrinsic or options.dim
    title = f"{count} points in {intrinsic} of {options.dim} dimensions, {queries} queries"
    console, table = Console(width=130), Table(title=title)
    for i, column in enumerate(HEADER):
        table.add_column(column, justify="right" if i else "left")
    results: dict[str, Any] = {"machine": machine(options.threads) | {"threads": options.threads}, "indices": {}}
    options.out.mkdir(parents=True, exist_ok=True)
    for kind in options.only:
        asked = {"kind": kind, "count": count, "dim": options.dim, "intrinsic": intrinsic, "queries": queries}
        asked |= {"efforts": EFFORTS[kind], "threads": options.threads}
        record = in_own_process("benchmarks.one_index", asked)
        results["indices"][kind] = record
        if "failed" in record:
            table.add_row(kind, record["failed"], *6 * [""])
        for one in record.get("found", []):
            built = [figure(record["seconds"]), figure(record["processor"]), memory(record["bytes"])]
            rates = [figure(one["rate"]), figure(one["own_rate"])]
            table.add_row(kind, *built, str(one["effort"]), f"{one['recall']:.4f}", *rates)
        (options.out / "index.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    console.print(table)


if __name__ == "__main__":
    main()
