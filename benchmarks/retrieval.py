"""What do retrieval scores cost? `python -m benchmarks.retrieval`

Recall@1, 10, 100, 1000 and MAP@R of every item among all others, at the size of Stanford Online Products, beside
pytorch-metric-learning (faiss-cpu), which gives Recall@1 and MAP@R, and at a size where they fit torchmetrics and the
whole matrix. Each in a process of its own, with the peak memory that it added beside the embeddings, on the clock and
in processor time (what another job on the machine disturbs less). Table and figures go to `--out`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.distance_report import figure, memory
from benchmarks.machine import machine
from benchmarks.measuring import available, in_own_process
from benchmarks.one_retrieval import BASE, LISTS, NAIVE, WAYS

SOP = (60_502, 384, 11_316)  # items, dimension, classes
NAIVE_SIZE = 10_000
QUICK = 2_000
HEADER = ["", "s", "processor s", f"× {BASE}", "memory added", "scores, %"]


def size_of(count: int) -> dict[str, int]:
    """As many items to a class as in the whole."""
    items, dim, classes = SOP
    return {"count": count, "dim": dim, "classes": max(2, count * classes // items)}


def cost(name: str, count: int, threads: int) -> dict[str, Any]:
    bytes_a_pair = {
        NAIVE: 30,
        LISTS: 100,
    }  # distances, their order in int64, and the hits; copies of them and of numbers
    needed = bytes_a_pair.get(name, 0) * count**2
    if needed > available("cpu"):
        return {"failed": f"needs {memory(needed)}"}
    return in_own_process("benchmarks.one_retrieval", {"name": name, **size_of(count), "threads": threads})


def cells(record: dict[str, Any], base: dict[str, Any]) -> list[str]:
    if "failed" in record:
        return [record["name"], record["failed"], *4 * [""]]
    ratio = figure(record["processor"] / base["processor"]) if "processor" in base else "–"
    scores = ", ".join(f"{name} {100 * value:.2f}" for name, value in record["scores"].items())
    times = [figure(record["seconds"]), figure(record["processor"])]
    return [record["name"], *times, ratio, memory(record["bytes"]), scores]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[NAIVE_SIZE, SOP[0]], help="numbers of items")
    parser.add_argument("--only", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--quick", action="store_true", help="a small size: to see whether it works")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    console = Console(width=170)
    results: dict[str, Any] = {"machine": machine(options.threads) | {"threads": options.threads}, "cost": []}
    options.out.mkdir(parents=True, exist_ok=True)
    for count in [QUICK] if options.quick else options.sizes:
        records: list[dict[str, Any]] = []
        for name in options.only:
            if name != NAIVE or count <= NAIVE_SIZE:
                records.append({"name": name, **size_of(count)} | cost(name, count, options.threads))
        base = next((record for record in records if record["name"] == BASE), {})
        table = Table(title=f"{count} × {count}, D = {SOP[1]}, {size_of(count)['classes']} classes")
        for i, column in enumerate(HEADER):
            table.add_column(column, justify="right" if 0 < i < 5 else "left")
        for record in records:
            table.add_row(*cells(record, base))
        console.print(table)
        results["cost"] += records
        (options.out / "retrieval.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    console.print(f"Figures: {options.out / 'retrieval.json'}", highlight=False)


if __name__ == "__main__":
    main()
