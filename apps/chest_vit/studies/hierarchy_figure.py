"""Scores by dimension, of each space with flat labels and with the tree, from the runs of `studies.hierarchies`."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.figure import Figure

from apps.io.atomic import write_file
from apps.report.figures import COLOURS, STYLE

if TYPE_CHECKING:
    from apps.chest_vit.studies.hierarchies import Trial

SCORES = {"fine": "Recall@1 of classes, %", "coarse": "Recall@1 of groups, %", "H-AP": "hierarchical AP, %"}
LINES = {"flat": "--", "tree": "-"}


def draw(path: Path, rows: Mapping["Trial", Mapping[str, float]]) -> None:
    """A row of panels for unseen and one for seen classes; bars are standard deviations over the seeds."""
    with matplotlib.rc_context(STYLE):
        write_file(path, partial(_figure(rows).savefig, format="png", dpi=110, metadata={"Software": None}))


def _figure(rows: Mapping["Trial", Mapping[str, float]]) -> Figure:
    finals = {trial: row for trial, row in rows.items() if trial.stage == "final"}
    dimensions = sorted({trial.dimension for trial in finals})
    spaces = list(dict.fromkeys(trial.space for trial in finals))
    figure = Figure(figsize=(11, 6.6), layout="constrained")
    panels = figure.subplots(2, len(SCORES), sharex=True)
    for panel_row, part in zip(panels, ("unseen", "seen"), strict=True):
        for axes, (score, words) in zip(panel_row, SCORES.items(), strict=True):
            for (space, colour), tree in (
                (pair, tree) for pair in zip(spaces, COLOURS, strict=False) for tree in LINES
            ):
                found = {
                    d: [
                        r[f"{part} {score}"]
                        for t, r in finals.items()
                        if (t.space, t.tree, t.dimension) == (space, tree, d)
                    ]
                    for d in dimensions
                }
                found = {d: values for d, values in found.items() if len(values) > 1}
                means, spreads = [mean(v) for v in found.values()], [stdev(v) for v in found.values()]
                label = f"{space}, {tree}"
                axes.errorbar(
                    list(found),
                    means,
                    spreads,
                    color=colour,
                    linestyle=LINES[tree],
                    lw=1.3,
                    elinewidth=0.6,
                    label=label,
                )
            axes.set_xscale("log", base=2)
            axes.set_xticks(dimensions, [str(d) for d in dimensions])
            axes.minorticks_off()
            axes.set_title(f"{part} classes: {words}", fontsize=9)
    for axes in panels[-1]:
        axes.set_xlabel("dimensions")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(spaces), fontsize=8)
    return figure
