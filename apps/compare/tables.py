"""What a comparison shows: tables in the terminal, as CSV and Markdown, and a figure of scores over the training."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from rich.console import Console
from rich.table import Table

from apps.compare.harness import Comparison, Run
from apps.io.atomic import replacing, write_file
from apps.report.figures import COLOURS, DASHES, STYLE

Rows = list[tuple[str, list[str]]]
Titled = tuple[str, list[str], Rows]  # a table: its title, columns and rows


def write_comparison(
    comparison: Comparison, folder: str | Path, *, reference: str | None = None, more: Sequence[Titled] = ()
) -> list[Path]:
    """Print the tables; write results.csv, table.md and curves.png into the folder, and give their paths.

    Args:
        comparison: with at least one final run of each candidate.
        reference: a candidate from which the others' differences, seed by seed, are shown too.
        more: an app's own tables.
    """
    folder = Path(folder)
    tables: list[Titled] = [
        (f"{comparison.score} on {scored_on(comparison)} data, by step", *by_moment(comparison)),
        ("Scores at the end", *at_the_end(comparison)),
    ]
    if any(comparison.searches.values()):
        tables.append(("Settings, chosen on validation data", *settings(comparison)))
    if reference in comparison.finals and len(comparison.finals) > 1:
        tables.insert(1, (f"{comparison.score} above {reference}, seed by seed", *by_moment(comparison, reference)))
    tables += more
    for title, columns, rows in tables:
        _print(title, columns, rows)
    paths = [folder / name for name in ("results.csv", "table.md", "curves.png")]
    write_csv(comparison, paths[0])
    text = "\n".join(markdown(*table) for table in tables)
    write_file(paths[1], lambda part: part.write_text(text, encoding="utf-8"))
    draw(comparison, paths[2])
    return paths


def scored_on(comparison: Comparison) -> str:
    """The data that the final runs are scored on: "test", or "validation" where settings are swept."""
    return "test" if next(iter(comparison.finals.values()))[0].trial.stage == "final" else "validation"


def by_moment(comparison: Comparison, reference: str | None = None) -> tuple[list[str], Rows]:
    """The main score of each candidate at every moment, or how far it is above the reference's run of the same seed."""
    moments = [(e.step, e.epoch) for e in next(iter(comparison.finals.values()))[0].history]
    columns = [f"epoch {epoch:g} ({step})" if float(epoch).is_integer() else f"step {step}" for step, epoch in moments]
    base = 0.0 if reference is None else _scores(comparison.finals[reference], comparison.score)
    rows: Rows = [
        (name, [mean_sd(column) for column in (_scores(runs, comparison.score) - base).T])
        for name, runs in comparison.finals.items()
        if name != reference
    ]
    return columns, rows


def at_the_end(comparison: Comparison) -> tuple[list[str], Rows]:
    """All scores of each candidate after its last step."""
    names = list(dict.fromkeys(name for runs in comparison.finals.values() for name in runs[0].history[-1].scores))
    rows: Rows = [
        (candidate, [mean_sd([run.history[-1].scores.get(name, np.nan) for run in runs]) for name in names])
        for candidate, runs in comparison.finals.items()
    ]
    return names, rows


def settings(comparison: Comparison) -> tuple[list[str], Rows]:
    """What the search chose, its spread, and what the finalists scored at the end, in the order of the search."""
    rows: Rows = []
    for name, chosen in comparison.chosen.items():
        if not comparison.searches[name]:
            continue
        last = [run.history[-1].scores[comparison.score] for run in comparison.searches[name]]
        described = ", ".join(f"{key} {value}" for key, value in chosen.items())
        spread = [f"{f(last):.1f}" for f in (np.max, np.median, np.min)]
        at_the_end = [f"{run.history[-1].scores[comparison.score]:.1f}" for run in comparison.finalists.get(name, [])]
        rows.append((name, [described, str(len(last)), *spread, *([", ".join(at_the_end)] if at_the_end else [])]))
    columns = ["chosen", "tried", "best", "median", "worst"]
    return columns + (["finalists at the end"] if comparison.finalists else []), rows


def final_scores(runs: Sequence[Run]) -> dict[str, np.ndarray]:
    """Each score after the last step, of all seeds."""
    last = [run.history[-1].scores for run in runs]
    names = dict.fromkeys(name for scores in last for name in scores)
    return {name: np.array([scores.get(name, np.nan) for scores in last]) for name in names}


def mean_sd(values: Sequence[float] | np.ndarray, *, digits: int = 1) -> str:
    """Mean ± standard deviation of the sample, to a tenth; the mean alone of one value.

    >>> mean_sd([1.0, 2.0, 3.0]), mean_sd([1.0], digits=2), mean_sd([float("nan")])
    ('2.0 ± 1.0', '1.00', '–')
    """
    if not np.isfinite(values).all():
        return "–"
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def markdown(title: str, columns: Sequence[str], rows: Rows) -> str:
    lines = [f"**{title}**", "", "| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows]
    return "\n".join(lines) + "\n"


def write_csv(comparison: Comparison, path: Path) -> None:
    """Every score of every final run, one a line."""
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["candidate", "seed", "step", "epoch", "score", "value"])
        for name, runs in comparison.finals.items():
            for run in runs:
                for step, epoch, scores in run.history:
                    writer.writerows(
                        [name, run.trial.seed, step, f"{epoch:g}", s, f"{v:.4f}"] for s, v in scores.items()
                    )


def draw(comparison: Comparison, path: Path) -> None:
    """The main score over steps, from the first, and over epochs; lines are means, bands go from worst to best seed."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 4.4), layout="constrained")
        by_step, by_epoch = figure.subplots(1, 2)
        for index, (name, runs) in enumerate(comparison.finals.items()):
            steps, epochs = (np.array([e[place] for e in runs[0].history]) for place in (0, 1))
            values = _scores(runs, comparison.score)
            trained = steps > 0  # the axis is logarithmic
            _band(by_step, steps[trained], values[:, trained], index, name)
            late = epochs >= min(1.0, epochs[-1])
            _band(by_epoch, epochs[late], values[:, late], index, name)
        by_step.set(xlabel="step", xscale="log")
        by_step.xaxis.set_major_formatter(ScalarFormatter())
        by_step.set_ylabel(f"{comparison.score} (%), {scored_on(comparison)}", parse_math=False)
        by_epoch.set(xlabel="epoch")
        by_epoch.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(
            *by_step.get_legend_handles_labels(), loc="outside lower center", ncols=4, handlelength=3.5, frameon=False
        )
        write_file(path, lambda part: figure.savefig(part, dpi=110, metadata={"Software": None}))


def _band(axes: Axes, x: np.ndarray, values: np.ndarray, index: int, name: str) -> None:
    colour, dash = COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS) % len(DASHES)]
    axes.fill_between(x, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)
    [line] = axes.plot(x, values.mean(0), color=colour, linewidth=1.6, marker="o", markersize=3.5, label=name)
    line.set_dashes(dash or (None, None))


def _scores(runs: Sequence[Run], score: str) -> np.ndarray:
    """(seeds, moments)"""
    return np.array([[evaluation.scores.get(score, np.nan) for evaluation in run.history] for run in runs])


def _print(title: str, columns: Sequence[str], rows: Rows) -> None:
    table = Table("", *columns, title=title)
    for name, cells in rows:
        table.add_row(name, *cells)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
