"""Pictures of what trainings of CHEST made: the disk (figure 2 of the paper), similarities (figure 3), radii,
gradients.

Each training is observed once and kept; the CSV files are written from what was kept, the figures drawn from the files.
"""

import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from apps.chest_vit.experiment import ChestExperiment
from apps.chest_vit.observations import ambiguity
from apps.chest_vit.results import similarities, similarity_sample
from apps.common.compare import Trial, draws, identified
from apps.common.figures import BLUE, COLOURS, DASHES, INK, MUTED, RED, STYLE
from apps.common.projection import disk_sample, project_to_disk
from geomdml.spaces import Hyperbolic

PORTRAYED = ("H", "H + E", "CHEST, unclipped")
ON_THE_DISK = ("H + E", "CHEST, unclipped")
BINS = 60
MOST_ROWS = 1_500  # test pictures in the file of radii
Arrays = dict[str, np.ndarray]
Rows = list[dict[str, str]]


def portraits(experiment: ChestExperiment, folder: Path, seed: int) -> list[Path]:
    """Train those of PORTRAYED that are compared once more, to look at them; the files, figures last."""
    seen = {
        name: observed(experiment, name, folder / "portraits", seed)
        for name in PORTRAYED
        if name in experiment.candidates
    }
    if not seen:
        return []
    tables = {
        "similarities": similarity_rows(seen),
        "gradients": gradient_rows(seen),
        "radii": radius_rows(seen),
        "disk": disk_rows(seen),
    }
    paths = [write(folder / f"{name}.csv", rows) for name, rows in tables.items() if rows]
    return paths + draw(folder)


def observed(experiment: ChestExperiment, name: str, folder: Path, seed: int) -> Arrays:
    """What the training of a candidate shows, read where it is kept."""
    trial = Trial(name, draws(experiment.candidates[name], 1, 0)[0], seed, "final", (), None)
    path = folder / f"{identified(experiment, trial)[1]}.npz"
    if not path.is_file():
        print(f"observing {name}", file=sys.stderr, flush=True)
        arrays = observe(experiment, trial)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part.npz")
        np.savez(part, **arrays)
        part.replace(path)
    with np.load(path) as kept:  # arrays alone: NumPy refuses pickles
        return dict(kept)


def observe(experiment: ChestExperiment, trial: Trial) -> Arrays:
    """Train, and give gradients over the steps and, at the end, similarities, radii and places on the disk."""
    gradients = []
    for step, _, model, gradient in experiment.steps(trial):  # noqa: B007  # the last model is looked at
        if gradient:
            gradients.append([step, *(gradient.get(f"gradient, {name}", np.nan) for name in ("H", "E", "cosine"))])
    train, test = (experiment.outputs(model, part) for part in ("train", "test"))
    train_labels, test_labels = (torch.from_numpy(experiment.maps.pictures(part).labels) for part in ("train", "test"))
    sample = torch.tensor(similarity_sample(model, experiment.data))
    own, others = similarities(model, train["H"][sample], train_labels[sample].to(train["H"].device))
    edges = np.histogram_bin_edges(torch.cat([own, others]).cpu().numpy(), BINS)
    sizes = torch.bincount(train_labels)
    arrays = {
        "gradients": np.array(gradients, float).reshape(-1, 4),
        "edges": edges,
        "own": np.histogram(own.cpu().numpy(), edges, density=True)[0],
        "others": np.histogram(others.cpu().numpy(), edges, density=True)[0],
        "class_size": sizes.numpy(),
        "class_radius": _class_means(train["radius"].cpu(), train_labels, sizes).numpy(),
        "ambiguity": ambiguity(test["E"], test_labels.to(test["E"].device)).cpu().numpy(),
        "radius": test["radius"].cpu().numpy(),
    }
    if trial.candidate in ON_THE_DISK:
        for part, found, labels in (("train", train, train_labels), ("test", test, test_labels)):
            arrays |= _on_the_disk(part, found["H"].cpu(), labels, model.space.cpu(), trial.seed)
    return arrays


@torch.no_grad()
def _on_the_disk(part: str, vectors: Tensor, labels: Tensor, space: Hyperbolic, seed: int) -> Arrays:
    """Places on the disk of a sample of whole classes; `coloured` numbers the classes that get a colour, from 1."""
    chosen, groups = disk_sample(labels, seed)
    points = project_to_disk(space.pairwise_dist(vectors[chosen], vectors[chosen]).numpy(), seed=seed)
    coloured = np.zeros(len(chosen), int)
    for number, group in enumerate(groups, start=1):
        coloured[group.numpy()] = number
    return {f"disk_{part}": np.stack([points.real, points.imag, coloured], axis=1)}


def _class_means(values: Tensor, labels: Tensor, sizes: Tensor) -> Tensor:
    return torch.zeros(len(sizes), dtype=values.dtype).index_add(0, labels, values) / sizes


def similarity_rows(seen: dict[str, Arrays]) -> Rows:
    return [
        _row(candidate=name, classes=classes, low=low, high=high, density=density)
        for name, arrays in seen.items()
        for classes in ("own", "others")
        for low, high, density in zip(arrays["edges"][:-1], arrays["edges"][1:], arrays[classes], strict=True)
    ]


def gradient_rows(seen: dict[str, Arrays]) -> Rows:
    return [
        _row(candidate=name, step=step, H=h, E=e, cosine=cosine)
        for name, arrays in seen.items()
        for step, h, e, cosine in arrays["gradients"]
    ]


def radius_rows(seen: dict[str, Arrays]) -> Rows:
    """Of each training class its size and its pictures' mean radius; of test pictures ambiguity and radius."""
    rows = []
    for name, arrays in seen.items():
        parts = (("class size", "class_size", "class_radius"), ("ambiguity", "ambiguity", "radius"))
        for kind, x, y in parts:
            found = [(a, b) for a, b in zip(arrays[x], arrays[y], strict=True) if np.isfinite([a, b]).all()]
            some = np.random.default_rng(0).permutation(len(found))[:MOST_ROWS]
            rows += [_row(candidate=name, against=kind, value=found[i][0], radius=found[i][1]) for i in sorted(some)]
    return rows


def disk_rows(seen: dict[str, Arrays]) -> Rows:
    return [
        _row(candidate=name, part=part, x=x, y=y, coloured=int(coloured))
        for name, arrays in seen.items()
        for part in ("train", "test")
        for x, y, coloured in arrays.get(f"disk_{part}", ())
    ]


def _row(**values: str | float) -> dict[str, str]:
    return {name: value if isinstance(value, str) else f"{value:.5g}" for name, value in values.items()}


def write(path: Path, rows: Rows) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
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
                figure(read(source)).savefig(drawn[-1], dpi=110, metadata={"Software": None})
    return drawn


def disk_figure(rows: Rows) -> Figure:
    """Figure 2: the Poincaré disk, once of training and once of test pictures; some classes have a colour."""
    figure = Figure(figsize=(10, 5.3), layout="constrained")
    for axes, part in zip(_panels(figure, 2), ("train", "test"), strict=True):
        x, y, coloured = _columns((row for row in rows if row["part"] == part), "x", "y", "coloured")
        axes.set(xlim=(-1.01, 1.01), ylim=(-1.01, 1.01), aspect="equal", title=f"{part} pictures")
        axes.axis("off")
        axes.add_patch(Circle((0, 0), 1, facecolor="#00000008", edgecolor=INK, linewidth=1.2))
        axes.scatter(x[coloured == 0], y[coloured == 0], s=5, c=MUTED, alpha=0.6, linewidths=0)
        for number in range(1, int(coloured.max(initial=0)) + 1):
            colour, marker = COLOURS[(number - 1) % len(COLOURS)], "o^"[(number - 1) // len(COLOURS) % 2]
            of = coloured == number
            axes.scatter(x[of], y[of], s=40, color=colour, marker=marker, edgecolors="white", linewidths=0.6)
    return figure


def similarity_figure(rows: Rows) -> Figure:
    """Figure 3: similarities of training pictures to their own class and to the others, without and with L_E."""
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
    """Radii of training classes against their size, and of test pictures against their ambiguity."""
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
                axes.set_xscale("log")
            else:
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
    norms.set(xlabel="step", ylabel="norm of the gradient at the features", yscale="log")
    cosines.set(xlabel="step", ylabel="cosine of the halves' gradients")
    for axes in (norms, cosines):
        if axes.has_data():
            axes.legend(frameon=False, fontsize=8)
    return figure


FIGURES = {
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
