"""The plot of docs/reports/transport.md: `python -m benchmarks.transport_plot`

Draws docs/results/transport/solvers.csv, where a row without a time was not there after 60 seconds.
"""

import csv
from pathlib import Path

from matplotlib.figure import Figure

FIGURES = Path("docs/results/transport/solvers.csv"), Path("docs/figures/transport-time.png")
COLOURS = {  # Okabe and Ito
    "geomdml": "#D55E00",
    "POT sinkhorn": "#0072B2",
    "POT stabilized": "#56B4E9",
    "POT log": "#009E73",
    "OTT kernel": "#CC79A7",
    "OTT log": "#E69F00",
}
LATEST = 60e3  # milliseconds


def draw(table: Path, path: Path) -> None:
    """A panel for each kind of costs and each reg; time by size, the batch last; a cross where a solver gave up."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kinds, shares = (list(dict.fromkeys(row[key] for row in rows)) for key in ("costs", "reg"))
    sizes = list(dict.fromkeys((row["problems"], row["n"]) for row in rows))
    figure = Figure(figsize=(9, 8), layout="constrained")
    panels = figure.subplots(len(kinds), len(shares), sharex=True, sharey=True)
    for kind, line in zip(kinds, panels, strict=True):
        for share, axes in zip(shares, line, strict=True):
            for place, (solver, colour) in enumerate(COLOURS.items()):
                chosen = [row for row in rows if (row["costs"], row["reg"], row["solver"]) == (kind, share, solver)]
                y = [float(row["milliseconds"] or "nan") for row in chosen]
                ours = solver == "geomdml"
                style = {"color": colour, "linewidth": 2.5 if ours else 1.2, "zorder": 3 if ours else 2}
                axes.plot(y[:-1], marker="o", markersize=3.5, label=solver, **style)
                axes.plot([len(y) - 1], y[-1:], marker="o", markersize=3.5, **style)  # the batch is on no line
                late = [x + 0.1 * (place - 3) for x, row in enumerate(chosen) if not row["milliseconds"]]
                axes.plot(late, [LATEST] * len(late), "x", color=colour, markersize=5)
            axes.set_yscale("log")
            axes.grid(color="#e5e5e5", linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_title(f"{kind}, reg = {share} of the largest cost", fontsize=9)
    labels = [n if problems == "1" else f"{problems} of\n{n}" for problems, n in sizes]
    for axes in panels[-1]:
        axes.set_xticks(range(len(sizes)), labels, fontsize=8)
    figure.supxlabel("n points a side")
    figure.supylabel("milliseconds to a marginal error of 1e-6")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=6, frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    draw(*FIGURES)
