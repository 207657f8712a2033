"""The figure of the README: the Poincaré disk of a trained embedding, with edges as geodesics.

`python -m apps.taxonomy.plots runs/version_0/checkpoints/best.ckpt --out docs/figures`
"""

import argparse
import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox
from numpy import ndarray
from PIL import Image

from apps.datasets.taxonomies.taxonomy import Taxonomy
from apps.io.atomic import write_file
from apps.io.packages import FetchError
from apps.report.figures import INK, MUTED, STYLE
from apps.taxonomy.model import TaxonomyEmbedding
from apps.taxonomy.report import MOST_POINTS, project
from apps.taxonomy.trained import trained

PIXELS, COLOURS = 1050, 32  # of the image
LABELLED, STEPS = 50, 24  # nodes that may have a label, points of a geodesic
SENSE = re.compile(r"\.[nv]\.\d+$")  # of a name in WordNet
# where a label may stand from its point, in points, and how it is aligned
PLACES = (
    (5, 0, "left", "center"),
    (-5, 0, "right", "center"),
    (0, 6, "center", "bottom"),
    (0, -6, "center", "top"),
)


def disk(model: TaxonomyEmbedding, taxonomy: Taxonomy) -> Figure:
    """The nodes where `apps.taxonomy.report` draws them, coloured by depth, the most general labelled."""
    general = taxonomy.below.argsort(descending=True, stable=True)[:MOST_POINTS]
    points, _ = project(model, general)
    z = points.numpy() @ (1, 1j)
    place = torch.full((len(taxonomy),), -1)
    place[general] = torch.arange(len(general))
    edges = place[taxonomy.edges]
    child, parent = edges[(edges >= 0).all(1)].T.numpy()
    depths = taxonomy.depths[general].numpy()
    figure = Figure(figsize=(7, 7))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02), aspect="equal")
    axes.axis("off")
    axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor=MUTED, linewidth=0.8))
    colours = matplotlib.colormaps["viridis"](0.9 * depths / max(1, depths.max()))
    lines = geodesics(z[parent], z[child])
    segments = np.stack([lines.real, lines.imag], -1)
    axes.add_collection(LineCollection(list(segments), colors=colours[child], linewidths=0.5, alpha=0.5))
    size = 4 + 26 * np.sqrt(taxonomy.below[general].numpy() / max(1, int(taxonomy.below.max())))
    axes.scatter(z.real, z.imag, s=size, c=colours, linewidths=0, zorder=2)
    _label(
        figure, axes, z, [taxonomy.names[node].split(".")[0].replace("_", " ") for node in general[:LABELLED].tolist()]
    )
    return figure


def geodesics(start: ndarray, end: ndarray) -> ndarray:
    """(n, STEPS) points of the disk, as complex numbers, on the geodesics between two points each."""
    moved = (end - start) / (1 - start.conj() * end)  # where the isometry that takes the start to 0 takes the end
    reach = np.clip(abs(moved), 1e-12, 1 - 1e-12)
    along = np.tanh(np.linspace(0, 1, STEPS) * np.arctanh(reach)[:, None]) * (moved / reach)[:, None]
    return (along + start[:, None]) / (1 + start.conj()[:, None] * along)


def _label(figure: Figure, axes: Axes, z: ndarray, names: Sequence[str]) -> None:
    """Write the names at their points, the first first; one that has no place beside those is left out."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    taken: list[Bbox] = []
    for point, name in zip(z, names, strict=False):
        for x, y, horizontal, vertical in PLACES:
            text = axes.annotate(
                name,
                (point.real, point.imag),
                (x, y),
                textcoords="offset points",
                ha=horizontal,
                va=vertical,
                fontsize=9,
                color=INK,
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
            )
            box = text.get_window_extent(renderer)
            inside = axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1 and axes.bbox.y0 < box.y0 and box.y1 < axes.bbox.y1
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m apps.taxonomy.plots", description=__doc__)
    parser.add_argument("checkpoint", help="checkpoint of a fit")
    parser.add_argument("--out", type=Path, default=Path("docs/figures"), help="folder to write the figure to")
    chosen = parser.parse_args(args)
    try:
        model, taxonomy = trained(chosen.checkpoint)
        with matplotlib.rc_context(STYLE):
            drawn = io.BytesIO()
            disk(model, taxonomy).savefig(drawn, dpi=PIXELS / 7, format="png")
        image = Image.open(drawn).convert("RGB").quantize(COLOURS)
        path = chosen.out / "taxonomy-disk.png"
        write_file(path, lambda part: image.save(part, format="PNG", optimize=True))
        print(path)
    except (ValueError, OSError, FetchError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
