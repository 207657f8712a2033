"""The figures of docs/reports/multimodal.md, drawn from the scores that `compare` wrote.

`python -m apps.multimodal.plots docs/results/multimodal/furniture.csv --out docs/figures`
"""

import argparse
import csv
import sys
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from apps.io.atomic import write_file
from apps.report.figures import COLOURS, DASHES, STYLE

Scores = dict[str, dict[str, dict[int, list[float]]]]  # candidate, score, step: the seeds' values
WATCHED = ("joint", "reshaping")
HEADS = {"accuracy": "fused head", "views": "head of the views", "points": "head of the points"}


def read(path: Path) -> Scores:
    """The scores of a comparison.

    Raises:
        ValueError: not the table that `compare` writes.
    """
    found: Scores = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            try:
                found[row["candidate"]][row["score"]][int(row["step"])].append(float(row["value"]))
            except (KeyError, TypeError) as error:
                raise ValueError(f"{str(path)!r} has no column {error}; expected results.csv of compare") from error
    return found


def accuracies(scores: Scores) -> Figure:
    """Accuracy of the fused head and of each modality's over the steps; lines are means over the seeds."""
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for axes, (score, title) in zip(panels, HEADS.items(), strict=True):
        for index, (candidate, of_candidate) in enumerate(scores.items()):
            if score in of_candidate and (score != "accuracy" or len(of_candidate.keys() & HEADS) == len(HEADS)):
                _line(axes, of_candidate[score], index, candidate)
        axes.set(xlabel="step", title=title)
    panels[0].set_ylabel("accuracy on test shapes (%)")
    handles = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=5, handlelength=3.5, frameon=False)
    return figure


def difficulties(scores: Scores) -> Figure:
    """Difficulty of each modality over the steps, before and after reshaping; bands go from worst to best seed."""
    candidates = [name for name in WATCHED if name in scores] or list(scores)
    figure = Figure(figsize=(5.2 * len(candidates), 3.8), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(candidates), sharey=True))
    for axes, candidate in zip(panels, candidates, strict=True):
        drawn = [name for name in scores[candidate] if name.startswith("difficulty/")]
        for name in drawn:
            _, modality, *reshaped = name.split("/")
            of_modality = list(HEADS).index(modality) - 1
            words = f"{modality}, {'under reshaped labels' if reshaped else 'under plain labels'}"
            _line(axes, scores[candidate][name], of_modality, words, dash=1 if reshaped else 0, band=True)
        axes.set(xlabel="step", title=candidate)
        axes.legend(frameon=False, handlelength=3.5)
    panels[0].set_ylabel("difficulty (nats)")
    return figure


def _line(axes: Axes, by_step: dict[int, list[float]], index: int, label: str, *, dash: int = -1, band=False) -> None:
    steps = np.array(sorted(by_step))
    values = np.array([by_step[step] for step in steps])
    colour, dashes = COLOURS[index % len(COLOURS)], DASHES[(index // len(COLOURS) if dash < 0 else dash) % len(DASHES)]
    if band:
        axes.fill_between(steps, values.min(1), values.max(1), color=colour, alpha=0.15, linewidth=0)
    [line] = axes.plot(steps, values.mean(1), color=colour, linewidth=1.6, marker="o", markersize=3.5, label=label)
    line.set_dashes(dashes or (None, None))


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m apps.multimodal.plots", description=__doc__)
    parser.add_argument("scores", type=Path, help="results.csv of compare")
    parser.add_argument("--out", type=Path, default=Path("docs/figures"), help="folder to write the figures to")
    chosen = parser.parse_args(args)
    try:
        found = read(chosen.scores)
        with matplotlib.rc_context(STYLE):
            for name, figure in (("accuracy", accuracies(found)), ("difficulty", difficulties(found))):
                path = chosen.out / f"multimodal-{name}.png"
                write_file(path, partial(figure.savefig, dpi=110, metadata={"Software": None}))
                print(path)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
