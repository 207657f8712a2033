"""How many true neighbours does an index find, how fast, and what does it cost? `python -m benchmarks.index`

Recall@1, 10 and 100, by exact distances, against queries a second: `knn` and `HyperbolicIndex` beside FAISS by straight
distances in the tangent space and in the ball, and by the inner products of the Lorentz model. The points: all nouns of
WordNet, placed by `nested_balls` (`balls:10`) or trained (a checkpoint of `apps.taxonomy`), trained images (the file of
`apps.chest_vit predict`), a random tree (`tree:10`), and 1,000 clusters in 128 dimensions that fill them all
(`clusters:128`) or lie in 16 of them (`clusters:16`). Each way is a process of its own. Rates are also given per second
of processor time, which other work on the machine disturbs less, and as multiples of our exact index, asked in turn
with each. `index.csv` and `index.png` go to `--out`.
"""

import argparse
import csv
import tempfile
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.distance_report import figure, memory
from benchmarks.machine import machine
from benchmarks.measuring import in_own_process
from benchmarks.one_index import COUNTS, WAYS

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
    "× flat",
]
COLOURS = {
    "knn": "#999999",
    "flat": "#000000",
    "graph": "#D55E00",
    "faiss flat, lifted": "#8B4513",
    "faiss hnsw, lifted": "#0072B2",
    "faiss hnsw, tangent": "#009E73",
    "faiss hnsw, ball": "#56B4E9",
    "faiss ivf, tangent": "#E69F00",
    "faiss ivf, ball": "#CC79A7",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["balls:5", "balls:10", "tree:10", "clusters:16", "clusters:128"])
    parser.add_argument("--points", type=int, default=1_000_000, help="of clusters and trees")
    parser.add_argument("--dim", type=int, default=128, help="of clusters")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--unseen", action="store_true", help="leave the queries out of the index")
    parser.add_argument("--only", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--quick", action="store_true", help="few points: to see whether it works")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    if options.quick:
        options.points, options.queries, options.data = 5000, 100, ["tree:10", "clusters:16"]
    facts = machine(options.threads, ("torch", "numba", "faiss-cpu"))
    options.out.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = []
    for data in options.data:
        records = {}
        chosen = {"data": data, "queries": options.queries, "count": options.points, "dim": options.dim}
        with tempfile.TemporaryDirectory() as folder:
            given = {**chosen, "unseen": options.unseen, "threads": options.threads, "path": f"{folder}/true.npy"}
            about = in_own_process("benchmarks.one_index", given)
            if "failed" in about:
                raise SystemExit(f"error: {data}: {about['failed']}")
            for way in options.only:
                efforts = next((some for start, some in EFFORTS.items() if way.startswith(start)), [1])
                records[way] = in_own_process("benchmarks.one_index", {**given, "way": way, "efforts": efforts})
                name = {
                    "data": Path(data).name,
                    "queries": "unseen" if options.unseen else "as said",
                    **about,
                    "way": way,
                }
                lines += [{**name, **row, **facts} for row in rows(records[way])]
                write(lines, options.out / "index.csv")
        Console(width=150).print(table(title(Path(data).name, about), records))
        draw(lines, options.out / "index.png")


def rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each effort and k, with what it took to build."""
    names = {"seconds": "built in s", "processor": "built in processor s", "bytes": "bytes", "load": "load"}
    built = {title: record.get(key, "") for key, title in names.items()}
    measured = ("effort", "k", "recall", "rate", "own_rate", "times")
    if "failed" in record:
        return [{**dict.fromkeys(measured, ""), **built, "failed": record["failed"]}]
    return [{**{key: each[key] for key in measured}, **built, "failed": ""} for each in record["found"]]


def write(lines: list[dict[str, Any]], path: Path) -> None:
    titles = {"rate": "queries/s", "own_rate": "queries/processor s", "times": "times flat"}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([titles.get(key, key) for key in lines[0]])
        writer.writerows(
            [f"{cell:.5g}" if isinstance(cell, float) else cell for cell in line.values()] for line in lines
        )


def title(data: str, about: dict[str, Any]) -> str:
    return f"{data}: {about['points']:,} × {about['dim']}, A up to {about['largest A']:.0f}"


def table(title: str, records: dict[str, Any]) -> Table:
    shown = Table(title=title)
    for i, column in enumerate(HEADER):
        shown.add_column(column, justify="right" if i else "left")
    for way, record in records.items():
        if "failed" in record:
            shown.add_row(way, record["failed"])
            continue
        built = [figure(record["seconds"]), figure(record["processor"]), memory(record["bytes"])]
        for effort in sorted({each["effort"] for each in record["found"]}):
            at = {each["k"]: each for each in record["found"] if each["effort"] == effort}
            recalls = [f"{at[k]['recall']:.3f}" for k in COUNTS]
            shown.add_row(way, *built, str(effort), *recalls, figure(at[10]["own_rate"]), figure(at[10]["times"]))
    return shown


def draw(lines: list[dict[str, Any]], path: Path) -> None:
    """Recall against queries per second of processor time: a row for each data, a column for each k."""
    measured = [line for line in lines if not line["failed"]]
    data = list(dict.fromkeys(line["data"] for line in measured))
    drawn = Figure(figsize=(12, 3.3 * len(data) + 0.7), layout="constrained")
    panels = drawn.subplots(len(data), len(COUNTS), squeeze=False, sharey="row")
    for name, row in zip(data, panels, strict=True):
        for k, axes in zip(COUNTS, row, strict=True):
            here = [line for line in measured if (line["data"], line["k"]) == (name, k)]
            for way in dict.fromkeys(line["way"] for line in here):
                some = [line for line in here if line["way"] == way]
                x, y = [line["recall"] for line in some], [line["own_rate"] for line in some]
                axes.plot(x, y, "o-", markersize=4, color=COLOURS[way], label=way)
            axes.set(xlabel=f"recall@{k}", yscale="log", xlim=(-0.03, 1.03), title=title(name, here[0]) * (k == 10))
            axes.grid(color="#e5e5e5", linewidth=0.6)
        row[0].set_ylabel("queries / processor second")
    drawn.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    drawn.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
