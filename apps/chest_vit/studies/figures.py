"""The figures of a study, each drawn from a CSV file that the study wrote."""

import csv
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator

from apps.chest_vit.studies.candidates import ROWS
from apps.io.atomic import replacing, write_file
from apps.report.figures import BLUE, COLOURS, DASHES, INK, MUTED, RED, STYLE

Rows = list[dict[str, str]]

MOST_AMBIGUOUS = 2.0  # of the images drawn


def write(path: Path, rows: Rows) -> Path:
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def draw(folder: Path) -> list[Path]:
    """Draw the figures of the CSV files that a folder has.

    >>> import tempfile
    >>> draw(Path(tempfile.mkdtemp()))
    []
    """
    drawn = []
    for name, figure in FIGURES.items():
        if (source := folder / f"{name}.csv").is_file():
            with matplotlib.rc_context(STYLE):
                drawn.append(folder / f"{name}.png")
                write_file(drawn[-1], partial(figure(read(source)).savefig, dpi=110, metadata={"Software": None}))
    return drawn


def disk_figure(rows: Rows) -> Figure:
    """Figure 2: the Poincaré disk of training and of test images; some classes have a colour."""
    names, parts = _names(rows), ("train", "test")
    figure = Figure(figsize=(10, 5.2 * len(names)), layout="constrained")
    panels = iter(_panels(figure, 2, len(names)))
    for name in names:
        for part in parts:
            axes = next(panels)
            of = (row for row in rows if row["candidate"] == name and row["part"] == part)
            x, y, coloured = _columns(of, "x", "y", "coloured")
            axes.set(xlim=(-1.01, 1.01), ylim=(-1.01, 1.01), aspect="equal", title=f"{name}, {part} images")
            axes.axis("off")
            axes.add_patch(Circle((0, 0), 1, facecolor="#00000008", edgecolor=INK, linewidth=1.2))
            axes.scatter(x[coloured == 0], y[coloured == 0], s=5, c=MUTED, alpha=0.6, linewidths=0)
            for number in range(1, int(coloured.max(initial=0)) + 1):
                colour, marker = COLOURS[(number - 1) % len(COLOURS)], "o^"[(number - 1) // len(COLOURS) % 2]
                of_class = coloured == number
                x_of, y_of = x[of_class], y[of_class]
                axes.scatter(x_of, y_of, s=40, color=colour, marker=marker, edgecolors="white", linewidths=0.6)
    return figure


def row_figure(rows: Rows) -> Figure:
    """Recall@1 at the end of each row of the ablation, a dot for each seed, and their mean."""
    last = max(int(row["step"]) for row in rows)
    values: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if int(row["step"]) == last:
            values.setdefault((row["candidate"], row["score"]), []).append(float(row["value"]))
    shown = [(r.name, r.output, values.get((r.candidate, f"{r.output}, Recall@1"), [])) for r in ROWS]
    shown = [row for row in shown if row[2]]
    figure = Figure(figsize=(8, 0.8 + 0.28 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    for place, (_, output, found) in enumerate(shown):
        colour = {"H": RED, "E": BLUE}[output]
        axes.plot(found, [place] * len(found), "o", color=colour, alpha=0.55, markersize=5, markeredgewidth=0)
        axes.plot([np.mean(found)] * 2, [place - 0.3, place + 0.3], color=colour, linewidth=2)
    axes.set(xlabel="Recall@1 (%), test classes; dots are seeds, bars their means", ylim=(len(shown) - 0.5, -0.5))
    axes.set_yticks(range(len(shown)), [f"{name}, scored in {output}" for name, output, _ in shown])
    return figure


def similarity_figure(rows: Rows) -> Figure:
    """Figure 3: similarities of training images to their own class and to the others, without and with L_E."""
    names = _names(rows)
    figure = Figure(figsize=(4.2 * len(names), 3.4), layout="constrained")
    for axes, name in zip(_panels(figure, len(names)), names, strict=True):
        for classes, colour in (("others", BLUE), ("own", RED)):
            of = [row for row in rows if row["candidate"] == name and row["classes"] == classes]
            low, high, density = _columns(of, "low", "high", "density")
            axes.stairs(density, [*low, high[-1]], fill=True, color=colour, alpha=0.4, label=f"{classes}")
        axes.set(title=name, xlabel="similarity (hyperbolic)", ylabel="density")
        axes.legend(frameon=False)
    return figure


def radius_figure(rows: Rows) -> Figure:
    """Radii of training classes against their size, and of test images against their ambiguity."""
    names, kinds = _names(rows), ("class size", "ambiguity")
    figure = Figure(figsize=(4.2 * len(names), 6.4), layout="constrained")
    panels = iter(_panels(figure, len(names), len(kinds)))
    for kind in kinds:
        for name in names:
            axes = next(panels)
            x, radius = _columns(
                (row for row in rows if row["candidate"] == name and row["against"] == kind), "value", "radius"
            )
            axes.scatter(x, radius, s=6, color=BLUE, alpha=0.35, linewidths=0)
            axes.set(title=name, xlabel=kind, ylabel="radius" if kind == "ambiguity" else "mean radius of the class")
            if kind == "class size":
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            else:  # twins in two classes are beyond all measure
                axes.set_xlim(0, MOST_AMBIGUOUS)
                axes.axvline(1, color=RED, dashes=DASHES[1], linewidth=1.2)
    return figure


def gradient_figure(rows: Rows) -> Figure:
    """Norms of what either half asks of the features over the steps, and the cosine between the two."""
    names = _names(rows)
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    norms, cosines = _panels(figure, 2)
    for index, name in enumerate(names):
        step, h, e, cosine = _columns((row for row in rows if row["candidate"] == name), "step", "H", "E", "cosine")
        colour = COLOURS[index % len(COLOURS)]
        norms.plot(step, h, color=colour, label=f"{name}: hyperbolic half")
        if np.isfinite(e).any():
            norms.plot(step, e, color=colour, linestyle=(0, DASHES[1]), label=f"{name}: Euclidean half")
            cosines.plot(step, cosine, color=colour, label=name)
    norms.set(xlabel="step", ylabel="norm of the gradient at the features", ylim=(0, None))
    cosines.set(xlabel="step", ylabel="cosine of the halves' gradients", ylim=(0, 1))
    for axes in (norms, cosines):
        if axes.has_data():
            axes.legend(frameon=False, fontsize=8)
    return figure


FIGURES = {
    "results": row_figure,
    "disk": disk_figure,
    "similarities": similarity_figure,
    "radii": radius_figure,
    "gradients": gradient_figure,
}


def _panels(figure: Figure, columns: int, rows: int = 1) -> Sequence[Axes]:
    return list(np.ravel(figure.subplots(rows, columns)))


def _names(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["candidate"] for row in rows))


def _columns(rows: Iterable[dict[str, str]], *names: str) -> np.ndarray:
    """(columns, rows)"""
    return np.array([[float(row[name]) for name in names] for row in rows]).reshape(-1, len(names)).T
