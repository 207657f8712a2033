"""What do losses with proxies cost? `python -m benchmarks.losses`

Forward and backward of a batch in float32: CHEST, with its two spaces, HypHC and the proxies mapped through the head,
beside SoftTriple and ProxyAnchor of pytorch-metric-learning and the distance matrix of the Hyp-ViT formula. Each in a
process of its own, with the peak memory that it added. The rounds go through all losses in turn, so that a busy moment
of the machine hits all alike. What broadcasts and would not fit into memory, judged by its peak at a small size, is
left out and says so. Table and figures go to `--out`.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.distance_report import figure, memory, times
from benchmarks.machine import machine
from benchmarks.measuring import available, in_own_process
from benchmarks.one_loss import BAR, BASE, BROADCASTS, LOSSES, OURS, Size

Record = dict[str, Any]

SIZES: list[Size] = [(200, 100, 10, 384), (75, 11318, 2, 384), (256, 100_000, 2, 512)]
QUICK_SIZES: list[Size] = [(32, 20, 2, 64), (16, 200, 2, 64)]
PROBE = (64, 250, 2)  # B, C and K at which the memory of larger ones is judged


def cost(name: str, size: Size, seconds: float) -> Record:
    """Seconds and memory of one loss at one size, or why there are none."""
    times_larger = size[0] * size[1] * size[2] / (PROBE[0] * PROBE[1] * PROBE[2])
    if name in BROADCASTS and times_larger > 2:
        small = in_own_process("benchmarks.one_loss", {"name": name, "size": (*PROBE, size[3]), "seconds": 0})
        needed = small.get("bytes", 0) * times_larger
        if needed > available("cpu"):
            return {"failed": f"needs {memory(needed)}"}
    return in_own_process("benchmarks.one_loss", {"name": name, "size": size, "seconds": seconds})


def measured(size: Size, names: list[str], seconds: float, rounds: int) -> list[Record]:
    """For each loss its fastest call, and the medians of the rounds."""
    found: dict[str, list[Record]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            if not (found[name] and "failed" in found[name][-1]):
                found[name].append(cost(name, size, seconds))
    return [{"name": name, "size": size} | _summary(records) for name, records in found.items()]


def _summary(records: list[Record]) -> Record:
    if "failed" in records[-1]:
        return {"failed": records[-1]["failed"]}
    seconds = [record["seconds"] for record in records]
    return {
        "seconds": min(record["fastest"] for record in records),  # what a busy machine disturbs least
        "rounds": seconds,
        "bytes": max(record["bytes"] for record in records),
        "finite": all(record["finite"] for record in records),
    }


def rows(records: list[Record]) -> list[list[str]]:
    """Name, fastest call, medians of the rounds, ratios to the matrix product and to the bar, memory."""
    known = {record["name"]: record for record in records}
    cells = []
    for record in records:
        if "failed" in record:
            cells.append([record["name"], record["failed"], *4 * [""]])
            continue
        ratios = [
            figure(record["seconds"] / known[other]["seconds"]) if "seconds" in known.get(other, {}) else "–"
            for other in (BASE, BAR)
        ]
        spread = f"{figure(1e3 * min(record['rounds']))} to {figure(1e3 * max(record['rounds']))}"
        name = record["name"] + ("" if record["finite"] else " (not finite)")
        cells.append([name, figure(1e3 * record["seconds"]), spread, *ratios, memory(record["bytes"])])
    return cells


HEADER = ["", "fastest, ms", "medians of the rounds", f"× {BASE}", "× their SoftTriple", "memory added"]


def size_of(text: str) -> Size:
    b, c, k, d = map(int, text.split("x"))
    return b, c, k, d


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=size_of, nargs="+", metavar="BxCxKxD", help="such as 200x100x10x384")
    parser.add_argument("--only", nargs="+", choices=list(LOSSES), default=list(LOSSES))
    parser.add_argument("--quick", action="store_true", help="small sizes: to see whether it works")
    parser.add_argument("--seconds", type=float, help="how long each measurement is repeated")
    parser.add_argument("--rounds", type=int, default=3, help="how often all are measured (3)")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
    seconds = options.seconds or (0.1 if options.quick else 2.0)

    console = Console(width=None if sys.stdout.isatty() else 130)
    results: Record = {"machine": machine(torch.get_num_threads()), "cost": []}
    markdown = ["# Losses", "\n".join(f"- {key}: {value}" for key, value in results["machine"].items())]
    options.out.mkdir(parents=True, exist_ok=True)
    for size in sizes:
        records = measured(size, options.only, seconds, options.rounds)
        results["cost"] += records
        title = f"Forward + backward, (B, C, K, D) = {times(size)}"
        table = Table(title=title)
        for i, column in enumerate(HEADER):
            table.add_column(column, justify="right" if i else "left")
        lines = [HEADER, ["---", *(len(HEADER) - 1) * ["---:"]], *rows(records)]
        for cells in lines[2:]:
            table.add_row(*cells)
        console.print(table)
        markdown += [f"## {title}", "\n".join("| " + " | ".join(cells) + " |" for cells in lines)]
        (options.out / "losses.json").write_text(json.dumps(results, indent=1, ensure_ascii=False), encoding="utf-8")
        (options.out / "losses.md").write_text("\n\n".join(markdown) + "\n", encoding="utf-8")
    ours, bar = ([r for r in results["cost"] if r["name"] == name and "seconds" in r] for name in (OURS, BAR))
    for mine, theirs in zip(ours, bar, strict=False):
        verdict = "less" if mine["seconds"] < theirs["seconds"] else "more"
        size, factor = times(mine["size"]), figure(mine["seconds"] / theirs["seconds"])
        console.print(f"{size}: {OURS} costs {verdict} than {BAR}: {factor} times as much", highlight=False)
    console.print(f"Table and figures: {options.out}", highlight=False)


if __name__ == "__main__":
    main()
