"""The figures of a report, each a self-contained image with its legend and its text alternative.

Drawn with matplotlib's objects (no pyplot, no global figure), on a transparent ground that the page puts on a
light card. Names that come from data stand in the page's legend, never in the image, so that no name meets a
font without its glyphs or is read as TeX.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

INK, MUTED = "#1f2328", "#8a929b"
BLUE, RED = "#0072b2", "#c8102e"
COLOURS = (
    BLUE,
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
)  # Okabe and Ito: told apart by all eyes
DASHES = ((), (6, 2), (2, 2), (6, 2, 2, 2))
MARKERS = {"o": "●", "^": "▲"}
MOST_CLASSES = len(COLOURS) * len(MARKERS)
MOST_POINTS, STRETCHES = 200, 100
LONGEST_SIDE, MOST_BYTES = 128, 16_000
MOST_NUMBERED, SHOWN_WORST = 40, 3
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#0000001a",
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.hashsalt": "geomdml",  # element names, and so the file, are the same in every run
}


class Mark(NamedTuple):
    """A line of a legend: a line of this dash pattern, or the glyph of a marker, and what it stands for."""

    text: str
    colour: str
    dash: Sequence[int] = ()
    glyph: str = ""
    thumbnail: str = ""


@dataclass(frozen=True)
class Illustration:
    """An image as a `data:` address, what it shows in words, its legend, and the caption below it."""

    image: str
    alt: str
    legend: Sequence[Mark] = ()
    caption: str = ""


def image_address(pixels: Tensor) -> str:
    """A uint8 image (3, H, W) as a PNG `data:` address: native size up to 128 pixels a side, at most ~22 kB.

    >>> image_address(torch.zeros(3, 2, 2, dtype=torch.uint8))[:22]
    'data:image/png;base64,'
    """
    if pixels.dtype != torch.uint8 or pixels.ndim != 3 or len(pixels) != 3:
        raise ValueError(
            f"an image has dtype {pixels.dtype} and shape {tuple(pixels.shape)}; expected torch.uint8 (3, H, W)"
        )
    image = Image.fromarray(pixels.permute(1, 2, 0).contiguous().cpu().numpy())
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    png = _png(image)
    if len(png) > MOST_BYTES:  # a photograph: 256 colours halve it, and the page stays a few MB
        png = _png(image.quantize(256))
    return _address("image/png", png)


def lines(curves: Sequence[tuple[str, ArrayLike, ArrayLike]], ylabel: str) -> Illustration:
    """Curves (name, steps, values) over the training steps; long ones as means with their range, see `_thin`."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes("step", ylabel)
        marks = []
        for i, (name, steps, values) in enumerate(curves):
            colour, dash = COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)]
            x, mean, low, high = _thin(np.asarray(steps, float), np.asarray(values, float))
            axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
            [line] = axes.plot(x, mean, color=colour, linewidth=1.8)
            line.set_dashes(dash or (None, None))
            if len(x) <= 40:
                line.set(marker="o", markersize=4)
            marks.append(Mark(f"{name}: {np.asarray(values, float)[-1]:.4g} at the end", colour, dash))
        image = svg_address(figure)
    alt = f"Line chart over training steps, {ylabel}. " + "; ".join(mark.text for mark in marks) + "."
    thinned = any(np.size(steps) > MOST_POINTS for _, steps, _ in curves)
    caption = f"Line: the mean of each of {STRETCHES} stretches of steps; band: its range." if thinned else ""
    return Illustration(image, alt, marks, caption)


def radii(values: ArrayLike, clip: float | None, caption: str) -> Illustration:
    """Histogram of the radii ‖u‖, in percent of the embeddings, with the clip radius where there is one."""
    radius = np.asarray(values, float)
    top = max(radius.max(), clip or 0.0) * 1.05 or 1.0
    share, edges = np.histogram(radius, bins=60, range=(0, top))
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes("radius ‖u‖", "embeddings (%)")
        axes.stairs(100 * share / radius.size, edges, fill=True, color=BLUE, alpha=0.75)
        marks = [Mark("embeddings", BLUE)]
        if clip is not None:
            axes.axvline(clip, color=RED, dashes=DASHES[1], linewidth=1.6)
            marks.append(Mark(f"clip radius r = {clip:g}", RED, DASHES[1]))
        image = svg_address(figure)
    return Illustration(image, f"Histogram of the radii of the embeddings. {caption}", marks, caption)


def densities(positive: NDArray, negative: NDArray, caption: str) -> Illustration:
    """Densities of two samples on common bins: negatives blue, positives red (CHEST, figure 3)."""
    low, high = min(positive.min(), negative.min()), max(positive.max(), negative.max())
    marks = [Mark("negative classes", BLUE), Mark("positive class", RED, DASHES[1])]
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes("similarity", "density")
        for mark, values in zip(marks, (negative, positive), strict=True):
            density, edges = np.histogram(values, bins=80, range=(low, high), density=True)
            axes.stairs(density, edges, fill=True, color=mark.colour, alpha=0.35)
            axes.stairs(density, edges, color=mark.colour, linewidth=1.4, linestyle=(0, mark.dash or None))
        image = svg_address(figure)
    return Illustration(image, f"Histogram of similarities. {caption}", marks, caption)


def disk(points: NDArray, groups: Sequence[NDArray], alt: str) -> Illustration:
    """The Poincaré disk with points (n,) as complex numbers; each group of indices has its colour and marker.

    The legend's marks come without text, in the order of the groups: the caller knows their names.
    """
    marks = [Mark("", COLOURS[i % len(COLOURS)], glyph=list(MARKERS)[i // len(COLOURS)]) for i in range(len(groups))]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6, 6), layout="constrained")
        axes = figure.add_subplot()
        axes.set(xlim=(-1.01, 1.01), ylim=(-1.01, 1.01), aspect="equal")
        axes.axis("off")
        axes.add_patch(Circle((0, 0), 1, facecolor="#00000008", edgecolor=INK, linewidth=1.2))
        for ring in np.tanh([0.5, 1.0, 1.5]):  # hyperbolic distance 1, 2, 3 from the centre
            axes.add_patch(Circle((0, 0), ring, fill=False, edgecolor=MUTED, linewidth=0.7, linestyle=(0, (1, 3))))
        axes.scatter(points.real, points.imag, s=5, c="#9aa2ab", alpha=0.6, linewidths=0)
        for mark, group in zip(marks, groups, strict=True):
            z = points[group]
            axes.scatter(z.real, z.imag, s=44, c=mark.colour, marker=mark.glyph, edgecolors="white", linewidths=0.6)
        image = svg_address(figure)
    return Illustration(image, alt, [mark._replace(glyph=MARKERS[mark.glyph]) for mark in marks])


def precision_recall(curves: Sequence[tuple[str, ArrayLike, ArrayLike]], caption: str) -> Illustration:
    """Curves (name, recall, precision), both as shares; shown in percent."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes("recall (%)", "precision (%)")
        axes.set(xlim=(0, 100), ylim=(0, 100))
        marks = []
        for i, (name, recall, precision) in enumerate(curves):
            mark = Mark(name, COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)])
            x, y = 100 * np.asarray(recall, float), 100 * np.asarray(precision, float)
            [line] = axes.plot(x, y, color=mark.colour, linewidth=1.8)
            line.set_dashes(mark.dash or (None, None))
            marks.append(mark)
        image = svg_address(figure)
    return Illustration(image, f"Precision against recall. {caption}", marks, caption)


def confusion(counts: NDArray, classes: Sequence[str], caption: str) -> Illustration:
    """Counts (class, predicted class) as shades of each row's share; the axes have the classes' numbers."""
    share = counts / counts.sum(axis=1, keepdims=True).clip(1)
    image = _matrix(share, np.where(counts > 0, counts.astype(str), ""), most=1.0, columns="predicted class")
    worst = np.argsort(np.diag(share) + (counts.sum(axis=1) == 0), kind="stable")[:SHOWN_WORST]
    named = ", ".join(f"{classes[i]} ({counts[i, i]} of {counts[i].sum()})" for i in worst)
    return Illustration(
        image, f"Confusion matrix. {caption} Worst: {named}.", _numbers(classes), f"{caption} Worst: {named}."
    )


def relation(shares: NDArray, classes: Sequence[str], caption: str) -> Illustration:
    """Shares (class, class) of each row outside the diagonal as shades, in percent where they are at least 1 %."""
    others = np.where(np.eye(len(shares), dtype=bool), 0.0, shares)
    percent = np.rint(100 * others).astype(int)
    most = max(float(others.max()), np.finfo(float).tiny)
    image = _matrix(others, np.where(percent > 0, percent.astype(str), ""), most=most, columns="class")
    strongest = np.argsort(-others, axis=None, kind="stable")[:SHOWN_WORST]
    pairs = zip(*np.unravel_index(strongest, others.shape), strict=True)
    named = ", ".join(f"{classes[i]} for {classes[j]} ({100 * others[i, j]:.0f} %)" for i, j in pairs)
    return Illustration(
        image, f"Class relation. {caption} Most: {named}.", _numbers(classes), f"{caption} Most: {named}."
    )


def _matrix(shares: NDArray, texts: NDArray, *, most: float, columns: str) -> str:
    """Shares as shades of blue, the darkest for `most`; numbers and texts where they can be read."""
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(6, 6), layout="constrained")
        axes = figure.add_subplot()
        axes.set(xlabel=columns, ylabel="class")
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=most)
        if len(shares) <= MOST_NUMBERED:
            axes.set(xticks=range(len(shares)), yticks=range(len(shares)))
            axes.tick_params(labelsize=7)
            for row, column in zip(*(texts != "").nonzero(), strict=True):
                colour = "white" if shares[row, column] > most / 2 else INK
                axes.text(column, row, texts[row, column], ha="center", va="center", fontsize=6, color=colour)
        return svg_address(figure)


def _numbers(classes: Sequence[str]) -> list[Mark]:
    return [Mark(name, BLUE, glyph=str(i)) for i, name in enumerate(classes)]


def _axes(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.4, 3.1), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=xlabel)
    axes.set_ylabel(ylabel, parse_math=False)
    return figure, axes


def _thin(x: NDArray, y: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Step, mean, least and greatest value of equal stretches of a curve; of each point, if they are few."""
    stretches = np.array_split(np.arange(len(x)), len(x) if len(x) <= MOST_POINTS else STRETCHES)
    x, mean, low, high = np.array(
        [(x[part].mean(), y[part].mean(), y[part].min(), y[part].max()) for part in stretches]
    ).T
    return x, mean, low, high


def svg_address(figure: Figure) -> str:
    """A figure as an SVG `data:` address."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _address("image/svg+xml", buffer.getvalue())


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
