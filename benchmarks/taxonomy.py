"""Who holds the mammals of WordNet in five dimensions, and how fast? `python -m benchmarks.taxonomy`

geomdml beside geoopt, gensim and Euclidean space. Each method chooses among four learning rates by MAP after short runs
of the first seed; then it trains for `--steps`, and again for as many steps as it makes in `--seconds`, from each seed.
MAP and mean rank are those of `geomdml.hierarchy.reconstruction`, by the method's own distance in float64. Beside that:
the distances of one step, forward and backward, and a step of the app at 1,000 and 1,000,000 nodes.

Each measurement is a process of its own, and a line of taxonomy.csv in `--out`: a run that was broken off goes on from
there, and `--again` forgets the lines. taxonomy.md has the tables.
"""

import argparse
import csv
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from apps.compare.tables import mean_sd
from apps.io.atomic import replacing, write_file
from benchmarks.distance_report import figure
from benchmarks.machine import machine
from benchmarks.measuring import in_own_process
from benchmarks.taxonomy_methods import METHODS

Record = dict[str, Any]
Rows = list[list[str]]
PACKAGES = ("torch", "geoopt", "gensim")
KEY = ("kind", "data", "name", "rate", "steps", "seed", "nodes", "rows")
FOUND = ("map", "mean_rank", "radius", "trained", "seconds", "step", "fastest", "load")
DISTANCES = (
    "geomdml.tangent",
    "geomdml.ball",
    "geomdml.lorentz",
    "geoopt dist",
    "geoopt dist of expmap0",
)
NODES = ((1000, 1000), (1_000_000, 1000), (1_000_000, 1_000_000))  # nodes, and how many of them the batches have
REPEATED = 2.0  # seconds that the measurements of time alone go on


class Measurements:
    """Those in a file, which has a line for each as soon as it is made."""

    def __init__(self, path: Path, threads: int) -> None:
        self.path, self.threads, self.known = path, threads, dict[tuple[str, ...], Record]()
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                self.known = {tuple(line[name] for name in KEY): _numbers(line) for line in csv.DictReader(file)}

    def of(self, **wanted: Any) -> Record:
        """The measurement, made now where it is not there; one that failed is not kept."""
        key = tuple(str(wanted.get(name, "")) for name in KEY)
        if key not in self.known:
            arguments = {"root_synset" if name == "data" else name: value for name, value in wanted.items()}
            found = in_own_process("benchmarks.one_taxonomy", arguments | {"threads": self.threads})
            if "failed" in found:
                return found
            self.known[key] = found
            with replacing(self.path) as part, part.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, [*KEY, *FOUND], extrasaction="ignore", lineterminator="\n")
                writer.writeheader()
                writer.writerows(dict(zip(KEY, key, strict=True)) | found for key, found in self.known.items())
        return self.known[key]


def _numbers(line: dict[str, str]) -> Record:
    return {name: float(line[name]) for name in FOUND if line[name]}


def trained(made: Measurements, options: argparse.Namespace) -> Iterator[tuple[str, str, float, list[Record]]]:
    """For each method: the budget ("steps" or "seconds"), its name, its learning rate, and a record for each seed."""

    def run(name: str, rate: float, steps: int, seed: int) -> Record:
        return made.of(kind="train", data=options.data, name=name, rate=rate, steps=steps, seed=seed)

    rates = {}
    for name in options.only:
        first = options.seeds[0]
        searched = {rate: run(name, rate, options.search_steps, first).get("map", -1) for rate in METHODS[name].rates}
        rates[name] = max(searched, key=searched.__getitem__, default=0.0)
    for name, rate in rates.items():
        steps = options.steps if METHODS[name].rates else 0
        records = [run(name, rate, steps, seed) for seed in options.seeds]
        yield "steps", name, rate, records
        if steps and options.seconds and not any("failed" in each for each in records):
            steps = round(options.seconds / min(each["step"] for each in records))  # the least disturbed
            yield "seconds", name, rate, [run(name, rate, steps, seed) for seed in options.seeds]


def training_row(name: str, rate: float, records: list[Record]) -> list[str]:
    failed = [each["failed"] for each in records if "failed" in each]
    if failed:
        return [name, failed[0], *6 * [""]]

    def of(score: str, factor: float = 1.0, digits: int = 1) -> str:
        return mean_sd([factor * each[score] for each in records], digits=digits)

    step = figure(1e3 * statistics.median(each["step"] for each in records)) if rate else "–"
    cells = [name, f"{rate:g}" if rate else "–", f"{records[0]['trained']:,.0f}", of("map"), of("mean_rank", digits=2)]
    return [*cells, of("radius"), f"{statistics.mean(each['seconds'] for each in records):.1f}", step]


TRAINED = ["", "rate", "steps", "MAP, %", "mean rank", "largest radius", "seconds", "ms a step"]


def distance_rows(made: Measurements) -> Rows:
    found = {name: made.of(kind="distance", name=name, seconds=REPEATED) for name in DISTANCES}
    return [[name, *times(mine, *(found[peer] for peer in DISTANCES[-2:]))] for name, mine in found.items()]


def step_rows(made: Measurements) -> Rows:
    found = [made.of(kind="step", nodes=nodes, rows=rows, seconds=REPEATED) for nodes, rows in NODES]
    return [
        [f"{nodes:,}", f"{rows:,}", *times(mine, found[0])] for (nodes, rows), mine in zip(NODES, found, strict=True)
    ]


def times(mine: Record, *others: Record) -> list[str]:
    """Milliseconds of the fastest call, and what share that is of others'."""
    if "failed" in mine:
        return [mine["failed"], *("" for _ in others)]
    shares = [f"{mine['fastest'] / other['fastest']:.2f}" if "fastest" in other else "–" for other in others]
    return [figure(1e3 * mine["fastest"]), *shares]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mammal.n.01", metavar="SYNSET", help="part of WordNet")
    parser.add_argument("--only", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seconds", type=float, default=15.0, help="the other budget (15); 0 leaves it out")
    parser.add_argument("--search_steps", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="felines, few steps: to see whether it works")
    parser.add_argument("--again", action="store_true", help="forget what was measured")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    if options.quick:
        options.data, options.steps, options.seconds, options.search_steps = "feline.n.01", 10, 0.1, 2
        options.seeds = options.seeds[:1]
    path = options.out / "taxonomy.csv"
    options.out.mkdir(parents=True, exist_ok=True)
    if options.again:
        path.unlink(missing_ok=True)

    console = Console(width=None if sys.stdout.isatty() else 160)
    made = Measurements(path, options.threads)
    facts = machine(options.threads, PACKAGES)
    shape = "512 nodes with 51 others each, 5-d, float32: forward and backward"
    tables = [
        (
            f"Distances of one step: {shape}",
            ["", "ms", "of geoopt dist", "of geoopt dist of expmap0"],
            distance_rows(made),
        ),
        ("A step of the app", ["nodes", "of which in the batches", "ms", "of the first"], step_rows(made)),
    ]
    rows: dict[str, Rows] = {"steps": [], "seconds": []}
    try:
        for budget, name, rate, records in trained(made, options):
            rows[budget].append(training_row(name, rate, records))
            console.print(f"{budget}: {', '.join(rows[budget][-1])}", highlight=False)
    except KeyboardInterrupt:
        console.print("Stopped; what was measured is kept.")
    titles = {"steps": f"{options.steps:,} steps", "seconds": f"As many steps as take {options.seconds:g} s"}
    tables += [(f"{options.data}: {titles[budget]}", TRAINED, found) for budget, found in rows.items() if found]
    markdown = ["# Taxonomies", "\n".join(f"- {key}: {value}" for key, value in facts.items())]
    for title, head, cells in tables:
        shown = Table(title=title)
        for place, column in enumerate(head):
            shown.add_column(column, justify="right" if place else "left")
        for line in cells:
            shown.add_row(*line)
        console.print(shown)
        lines = [head, ["---", *(len(head) - 1) * ["---:"]], *cells]
        markdown += [f"## {title}", "\n".join("| " + " | ".join(line) + " |" for line in lines)]
    text = "\n\n".join(markdown) + "\n"
    write_file(options.out / "taxonomy.md", lambda part: part.write_text(text, encoding="utf-8"))
    console.print(f"Tables: {options.out}", highlight=False)


if __name__ == "__main__":
    main()
