"""What `benchmarks.distances` found, as tables, JSON and Markdown."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks import distance_plots
from benchmarks.implementations import BASE, OURS, C

Record = dict[str, Any]


class Rows(NamedTuple):
    title: str
    header: list[str]
    cells: list[list[str]]


def tables(results: Record) -> Iterator[Rows]:
    """One of errors by radius (on a GPU two), one of costs a size, those of what was measured in turn."""
    yield from turns(results)
    for tf32 in dict.fromkeys(r["tf32"] for r in results["accuracy"]):
        found = {(r["radius"], r["name"]): error(r) for r in results["accuracy"] if r["tf32"] == tf32}
        radii, names = (list(dict.fromkeys(keys)) for keys in zip(*found, strict=True))
        cells = [[f"{radius:g}", *(found.get((radius, name), "") for name in names)] for radius in radii]
        title = f"Largest relative error, {'TF32' if tf32 else 'float32'}, c = {C:g}, random pairs"
        yield Rows(title, ["radius √c‖u‖", *names], cells)
    for size in dict.fromkeys(tuple(r["size"]) for r in results["cost"]):
        records = [r for r in results["cost"] if tuple(r["size"]) == size]
        header = ["", "ms", f"× {BASE}", f"× {OURS}", "fastest ms", "calls", "memory added"]
        yield Rows(f"Forward + backward, (B, P, D) = {times(size)}", header, [costs(r, records) for r in records])


def turns(results: Record) -> Iterator[Rows]:
    """Medians of what was measured in turn, as multiples of the first."""
    for threads in dict.fromkeys(r["threads"] for r in results["turns"]):
        for one_to_one in (False, True):
            records = [
                r for r in results["turns"] if r["threads"] == threads and (r["kind"] == "one to one") == one_to_one
            ]
            done = [r for r in records if "failed" not in r["times"]]
            if not done:
                continue
            base, *others = done[0]["times"]
            cells = []
            for r in done:
                (_, unit), *found = r["times"].values()
                itself = ", itself" if r["kind"] == "itself" else ""
                cells.append([times(r["size"]) + itself, figure(1e3 * unit), *(f"{m / unit:.2f}" for _, m in found)])
            title = f"In turn, {'one to one' if one_to_one else 'all pairs'}, {threads} thread{'s' * (threads > 1)}"
            yield Rows(title, ["", f"{base}, ms", *(f"{name}, times that" for name in others)], cells)


def label(record: Record) -> str:
    return record["name"] + (" (TF32)" if record["tf32"] else "")


def error(record: Record) -> str:
    if "failed" in record:
        return record["failed"]
    unusable = [
        f"{kind} {record[key] / record['pairs']:.0%}" for kind, key in (("NaN", "nan"), ("inf", "inf")) if record[key]
    ]
    return ", ".join(unusable) or f"{record['largest']:.1e}"


def costs(record: Record, records: list[Record]) -> list[str]:
    if "failed" in record:
        return [label(record), record["failed"], *5 * [""]]
    ratios = []
    for name in (BASE, OURS):
        (other,) = [r for r in records if (r["name"], r["tf32"]) == (name, record["tf32"])] or [{}]
        ratios.append(figure(record["seconds"] / other["seconds"]) if "seconds" in other else "–")
    flag = "" if record["finite"] else " (not finite)"
    return [
        label(record) + flag,
        figure(1e3 * record["seconds"]),
        *ratios,
        figure(1e3 * record["fastest"]),
        str(record["calls"]),
        memory(record["bytes"]),
    ]


def line(record: Record) -> str:
    took = record.get("failed") or f"{figure(1e3 * record['seconds'])} ms, {memory(record['bytes'])}"
    return f"{times(record['size'])}  {label(record)}: {took}"


def figure(x: float) -> str:
    """Two or three digits that count."""
    return f"{x:,.0f}" if x >= 99.5 else f"{x:.3g}"


def memory(size: float) -> str:
    """Bytes, in MB, GB or TB."""
    power = 3 if size >= 999.5e9 else 2 if size >= 999.5e6 else 1
    return f"{figure(size / 1000 ** (power + 1))} {' MGT'[power]}B"


def times(size: tuple[int, ...]) -> str:
    return "×".join(map(str, size))


def show(results: Record, console: Console) -> None:
    for rows in tables(results):
        table = Table(title=rows.title)
        for i, column in enumerate(rows.header):
            table.add_column(column, justify="right" if i else "left")
        for cells in rows.cells:
            table.add_row(*cells)
        console.print(table)


def save(results: Record, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "distances.json").write_text(json.dumps(results, indent=1, ensure_ascii=False), encoding="utf-8")


def write(results: Record, out: Path) -> None:
    """distances.md, with the plots that it shows."""
    parts = ["# Hyperbolic distances", "\n".join(f"- {key}: {value}" for key, value in results["machine"].items())]
    for rows in tables(results):
        lines = [rows.header, ["---", *(len(rows.header) - 1) * ["---:"]], *rows.cells]
        parts += [f"## {rows.title}", "\n".join("| " + " | ".join(cells) + " |" for cells in lines)]
    for name, plot, records in (
        ("error", distance_plots.error_against_radius, results["accuracy"]),
        ("time", distance_plots.time_against_size, results["cost"]),
    ):
        if records:
            plot(records, out / f"{name}.png")
            parts.append(f"![{name}]({name}.png)")
    (out / "distances.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
