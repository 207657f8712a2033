"""The report of a run: one HTML file that needs neither a network nor scripts. Plain data in, file out."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Integer
from numpy.typing import ArrayLike
from torch import Tensor

from apps.io.atomic import write_file
from apps.report import figures
from apps.report.disk import disk_sample, project_to_disk
from apps.report.figures import Illustration
from apps.report.gallery import NEIGHBOURS, Gallery, gallery
from apps.report.templates import render_template
from geomdml.spaces import Space

LEAST_DISK_POINTS = 100
NO_UMAP = "The disk is drawn by umap-learn, which is not installed here: pip install umap-learn."


@dataclass(frozen=True)
class Curve:
    """Values of one quantity over the training steps; curves of the same unit share a panel."""

    name: str
    steps: Sequence[float]
    values: Sequence[float]
    unit: str = "%"

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.values) or not len(self.steps):
            raise ValueError(
                f"curve {self.name!r} has {len(self.steps)} steps and {len(self.values)} values; "
                "expected as many of the one as of the other, and at least one"
            )


@dataclass(frozen=True)
class Table:
    """Scores in percent, higher is better: a row of numbers for each name; None shows as a dash.

    Of the columns in `lower` the lowest is the best. Numbers are shown with so many `digits` behind the point.
    """

    columns: Sequence[str]
    rows: Mapping[str, Sequence[float | None]]
    caption: str = "In percent; higher is better, the best of each column is bold."
    title: str = "Scores"
    lower: Collection[str] = ()
    digits: int = 1

    def __post_init__(self) -> None:
        for name, row in self.rows.items():
            if len(row) != len(self.columns):
                raise ValueError(f"row {name!r} has {len(row)} scores; expected one for each of {self.columns}")


@dataclass(frozen=True, eq=False)
class Output:
    """One output of a model on the test images, in their order, and the space in which it is compared: any.

    The disk and the radii are drawn of tangent vectors at an origin: of a space that has a `chart`, which must then be
    "tangent". `clip` is the radius they were clipped at, if they were.
    """

    name: str
    embeddings: Float[Tensor, "n d"]
    space: Space
    clip: float | None = None

    def __post_init__(self) -> None:
        if self.chart not in (None, "tangent"):
            raise ValueError(f"output {self.name!r} is in the chart {self.chart!r}; expected 'tangent'")

    @property
    def chart(self) -> str | None:
        """The chart of the embeddings, of a space that has charts."""
        return getattr(self.space, "chart", None)


@dataclass(frozen=True, eq=False)
class Similarities:
    """Similarities of samples to their own class, and to the other classes, in one output; any shape."""

    name: str
    positive: ArrayLike
    negative: ArrayLike


@dataclass(frozen=True, eq=False)
class Section:
    """A part of a report with a heading of its own: a text, tables, figures. `anchor` is its name in addresses."""

    anchor: str
    title: str
    text: str
    tables: Sequence[Table] = ()
    illustrations: Sequence[Illustration] = ()


@dataclass(frozen=True, eq=False)
class Report:
    """What a run has to show.

    `labels` are indices of `classes`, and `image(i)` gives the i-th test image, uint8 (3, H, W); all tensors are on the
    CPU. `illustrations` stand below the table, `sections` after the scores. What is drawn (queries, classes, the layout
    of the disk) is drawn with `seed`.
    """

    title: str
    facts: Mapping[str, str]
    table: Table
    labels: Integer[Tensor, " n"]
    classes: Sequence[str]
    image: Callable[[int], Tensor]
    outputs: Sequence[Output]
    curves: Sequence[Curve] = ()
    similarities: Sequence[Similarities] = ()
    illustrations: Sequence[Illustration] = ()
    sections: Sequence[Section] = ()
    notes: Sequence[str] = ()
    seed: int = 0
    queries: int | None = None

    def __post_init__(self) -> None:
        for output in self.outputs:
            if len(output.embeddings) != len(self.labels):
                raise ValueError(
                    f"output {output.name!r} has {len(output.embeddings)} embeddings for {len(self.labels)} labels; "
                    "expected one of each for every test image"
                )
        if self.queries is not None and not 0 < self.queries < len(self.labels):
            raise ValueError(
                f"queries = {self.queries} of {len(self.labels)} images; expected some, and some to search"
            )
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.classes):
            raise ValueError(
                f"labels go from {int(self.labels.min())} to {int(self.labels.max())}; "
                f"expected indices of the {len(self.classes)} classes"
            )


def write_report(report: Report, path: str | Path) -> Path:
    """Write a report as one self-contained HTML file, whole or not at all, and return its path.

    Raises `ValueError` where an image is not uint8 (3, H, W).
    """
    path = Path(path)
    # a class is often named by its folder, and a folder's name need not be valid Unicode
    page = render(report).encode("utf-8", errors="backslashreplace")
    write_file(path, lambda part: part.write_bytes(page))
    return path


@torch.no_grad()
def render(report: Report) -> str:
    """The HTML of a report, a function of the report alone."""
    whole = [output for output in report.outputs if finite(output.embeddings)]
    similarities = [each for each in report.similarities if finite(each.positive) and finite(each.negative)]
    shown = sorted(whole, key=lambda output: output.chart is None)

    def searched(output: Output) -> Gallery:
        shown = report.labels, report.classes, output.space, report.image
        return gallery(output.embeddings, *shown, seed=report.seed, queries=report.queries)

    galleries = [(output.name, searched(output)) for output in shown]
    charted = [output for output in shown if output.chart is not None]
    disk, no_disk = None, ""
    if charted and len(report.labels) >= LEAST_DISK_POINTS:
        try:
            disk = disk_illustration(report, charted[0])
        except ImportError:
            no_disk = NO_UMAP
    return render_template(
        Path(__file__).with_name("report.html.j2"),
        report=report,
        cells=table_cells,
        broken=[output.name for output in report.outputs if output not in whole]
        + [each.name for each in report.similarities if each not in similarities],
        curves=curve_illustrations(report.curves),
        galleries=[(name, found) for name, found in galleries if found.asked],
        k=min(NEIGHBOURS, len(report.labels) - (report.queries or 1)),
        disk=disk,
        no_disk=no_disk,
        radii=[radii_illustration(output) for output in charted],
        similarities=[similarity_illustration(each) for each in similarities],
    )


def finite(values: ArrayLike) -> bool:
    numbers = torch.as_tensor(values)
    return numbers.numel() > 0 and bool(numbers.isfinite().all())


def table_cells(table: Table) -> Iterator[tuple[str, list[tuple[str, bool]]]]:
    """Name and cells of each row, a cell being its text and whether it is the best of its column as shown.

    >>> list(table_cells(Table(["Recall@1"], {"E": [61.04], "H": [61.0], "raw": [None]})))
    [('E', [('61.0', True)]), ('H', [('61.0', True)]), ('raw', [('–', False)])]
    """
    sign = np.where([column in table.lower for column in table.columns], -1, 1)
    rounded = {
        name: [
            -np.inf if x is None or np.isnan(x) else s * round(x, table.digits) for x, s in zip(row, sign, strict=True)
        ]
        for name, row in table.rows.items()
    }
    best = [max(column) for column in zip(*rounded.values(), strict=True)]
    for name, row in rounded.items():
        yield (
            name,
            [
                ("–", False) if x == -np.inf else (f"{s * x:.{table.digits}f}", x == top)
                for x, s, top in zip(row, sign, best, strict=True)
            ],
        )


def curve_illustrations(curves: Sequence[Curve]) -> list[Illustration]:
    units = dict.fromkeys(curve.unit for curve in curves)
    return [
        figures.lines([(c.name, c.steps, c.values) for c in curves if c.unit == unit], ylabel=unit) for unit in units
    ]


def disk_illustration(report: Report, output: Output) -> Illustration:
    sample, coloured = disk_sample(report.labels, report.seed)
    points = output.embeddings[sample]
    layout = project_to_disk(output.space.pairwise_dist(points, points).numpy(), seed=report.seed)
    shown, classes = len(sample), len(report.labels[sample].unique())
    illustration = figures.disk(
        layout,
        [group.numpy() for group in coloured],
        alt=f"Poincaré disk with {shown} points, {len(coloured)} classes of them in colour.",
    )
    legend = []
    for mark, group in zip(illustration.legend, coloured, strict=True):
        example = int(sample[group[0]])
        name = report.classes[int(report.labels[example])]
        legend.append(mark._replace(text=name, thumbnail=figures.image_address(report.image(example))))
    caption = (
        f"{shown:,} of the {len(report.labels):,} test embeddings of {output.name}, of {classes:,} of the "
        f"{len(report.labels.unique()):,} classes, drawn by class with seed {report.seed}; {len(coloured)} classes "
        f"are coloured. UMAP laid them out in two dimensions by their distances in {output.space}; "
        "an isometry then moved their midpoint to the centre."
    )
    return replace(illustration, legend=legend, caption=caption)


def radii_illustration(output: Output) -> Illustration:
    radius = output.embeddings.norm(dim=-1).double()
    low, median, high = radius.quantile(torch.tensor([0.05, 0.5, 0.95], dtype=radius.dtype)).tolist()
    caption = f"{output.name}: median {median:.3g}, 5 to 95 % between {low:.3g} and {high:.3g}."
    if output.clip is not None:
        clipped = (radius >= output.clip * (1 - 1e-5)).double().mean()  # clipping in float32 ends within 1e-6 of r
        caption += f" {100 * clipped:.1f} % are clipped at r = {output.clip:g}."
    return figures.radii(radius.numpy(), output.clip, caption)


def similarity_illustration(similarities: Similarities) -> Illustration:
    positive, negative = (
        torch.as_tensor(values).double().flatten().sort().values.numpy()
        for values in (similarities.positive, similarities.negative)
    )
    below = (np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")) / 2
    caption = (
        f"{similarities.name}: {len(positive):,} similarities to the positive class, {len(negative):,} to negative "
        f"classes. A positive is above a negative in {100 * below.mean() / len(negative):.1f} % of all pairs."
    )
    return figures.densities(positive, negative, caption)
