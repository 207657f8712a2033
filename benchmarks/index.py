"""How many true neighbours does an index find, how fast, and what does it cost? `python -m benchmarks.index`

Recall@1, 10 and 100, by exact distances, against queries a second: `knn` and `HyperbolicIndex` beside FAISS by straight
distances in the tangent space and in the ball, and by the inner products of the Lorentz model. The points: all nouns of
WordNet, placed by `nested_balls` (`balls:10`) or trained (a checkpoint of `apps.taxonomy`), and 1,000 clusters in 128
dimensions that fill them all (`clusters:128`) or lie in 16 of them (`clusters:16`). Each way is a process of its own.
Rates are also given per second of processor time, which other work on the machine disturbs less. Figures go to `--out`.
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
from benchmarks.one_index import WAYS

EFFORTS = {"graph": [16, 64, 256, 1024], "faiss hnsw": [64, 256, 1024], "faiss ivf": [4, 32, 128]}
HEADER = [
    "",
    "built in, s",
    "processor s",
    "memory",
    "effort",
    "recall@1",
    "@10",
    "@100",
    "queries/processor s, k = 10",
    "× knn",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["balls:5", "balls:10", "clusters:16", "clusters:128"])
    parser.add_argument("--points", type=int, default=1_000_000, help="of clusters")
    parser.add_argument("--dim", type=int, default=128, help="of clusters")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--only", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--quick", action="store_true", help="few points: to see whether it works")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    if options.quick:
        options.points, options.queries, options.data = 5000, 100, ["clusters:16"]
    results: dict[str, Any] = {"machine": machine(options.threads) | {"threads": options.threads}, "data": {}}
    options.out.mkdir(parents=True, exist_ok=True)
    for data in options.data:
        results["data"][data] = records = {}
        for way in options.only:
            efforts = next((some for start, some in EFFORTS.items() if way.startswith(start)), [1])
            wanted = {"way": way, "data": data, "queries": options.queries, "count": options.points}
            wanted |= {"dim": options.dim, "efforts": efforts, "threads": options.threads}
            records[way] = in_own_process("benchmarks.one_index", wanted)
            (options.out / "index.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
        Console(width=150).print(table(data, records))


def table(title: str, records: dict[str, Any]) -> Table:
    shown = Table(title=title)
    for i, column in enumerate(HEADER):
        shown.add_column(column, justify="right" if i else "left")
    exact = next((each["own_rate"] for each in records.get("knn", {}).get("found", []) if each["k"] == 10), None)
    for way, record in records.items():
        if "failed" in record:
            shown.add_row(way, record["failed"])
            continue
        built = [figure(record["seconds"]), figure(record["processor"]), memory(record["bytes"])]
        for effort in sorted({each["effort"] for each in record["found"]}):
            at = {each["k"]: each for each in record["found"] if each["effort"] == effort}
            times = f"{at[10]['own_rate'] / exact:,.0f}" if exact else ""
            recalls = [f"{at[k]['recall']:.3f}" for k in (1, 10, 100)]
            shown.add_row(way, *built, str(effort), *recalls, figure(at[10]["own_rate"]), times)
    return shown


if __name__ == "__main__":
    main()
