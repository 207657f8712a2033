"""How fast are shapes rendered, beside other renderers without a display? `python -m benchmarks.render`

Tori of several sizes, 12 views of 128 × 128 pixels each, one ray a pixel: from vertices and faces to images, with
what an engine builds for a new mesh. Each engine runs in a process of its own, on one thread where it can be told so;
what is missing or does not run says so. `differs` is the share of pixels whose silhouette is not ours.
Tables go to `--out`, also when the run is broken off.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.measuring import in_own_process
from benchmarks.one_render import ENGINES

Record = dict[str, Any]

TRIANGLES = [2_000, 20_000, 200_000]
VIEWS, SIZE = 12, 128
SLOW = "trimesh, its own rays"  # one view is enough to see
COLUMNS = [
    "triangles",
    "engine",
    "views/s",
    "shapes/s",
    "views a CPU second",
    "ours is cheaper by",
    "memory",
    "differs",
]


def cost(engine: str, triangles: int, seconds: float) -> Record:
    views = 1 if engine == SLOW else VIEWS
    arguments = {"engine": engine, "triangles": triangles, "views": views, "size": SIZE, "seconds": seconds}
    return {"engine": engine, "triangles": triangles, **in_own_process("benchmarks.one_render", arguments)}


def rows(results: list[Record]) -> list[list[str]]:
    """Cells of the table, a result a row."""
    ours = {result["triangles"]: frugality(result) for result in results if result["engine"] == "ours"}
    return [[f"{result['triangles']:,}", result["engine"], *cells(result, ours)] for result in results]


def cells(result: Record, ours: dict[int, float]) -> list[str]:
    if "failed" in result:
        return [result["failed"], *[""] * (len(COLUMNS) - 3)]
    speed = result["views"] / result["seconds"]
    cheaper = ours.get(result["triangles"], float("nan")) / frugality(result)
    memory, differs = f"{result['bytes'] / 2**20:.0f} MB", f"{100 * result['differs']:.2g} %"
    return [f"{speed:.3g}", f"{speed / VIEWS:.3g}", f"{frugality(result):.3g}", f"{cheaper:.2g}", memory, differs]


def frugality(result: Record) -> float:
    """Views a second of the processor, which other programs disturb less than views a second."""
    return result["views"] / result["processor"] if "failed" not in result else float("nan")


def markdown(table: list[list[str]]) -> str:
    lines = [COLUMNS, ["---"] * len(COLUMNS), *table]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--triangles", type=int, nargs="+", default=TRIANGLES)
    parser.add_argument("--only", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each measurement is repeated")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()

    console, results = Console(), []
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    options.out.mkdir(parents=True, exist_ok=True)
    jobs = [(engine, triangles) for triangles in options.triangles for engine in options.only]
    try:
        for engine, triangles in track(jobs, "rendering", console=console):
            results.append({**cost(engine, triangles, options.seconds), "triangles": triangles})
            (options.out / "render.json").write_text(json.dumps(results, indent=1))
    except KeyboardInterrupt:
        console.print("Stopped; what was measured is kept.")
    table = Table(*COLUMNS)
    for row in rows(results):
        table.add_row(*row)
    console.print(table)
    console.print(f"{os.cpu_count()} cores, load before the run {load:.1f}")
    (options.out / "render.md").write_text(markdown(rows(results)))
    console.print(f"Tables: {options.out}/render.md, render.json")


if __name__ == "__main__":
    main()
