"""Portraits of trainings of CHEST: the disk (figure 2 of the paper), similarities (figure 3), radii, gradients.

Each training is observed once and kept; the CSV files are written from what was kept, the figures drawn from the files.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from apps.chest_vit.model import CHEST
from apps.chest_vit.results import similarities, similarity_sample
from apps.chest_vit.studies.experiment import ChestExperiment
from apps.chest_vit.studies.figures import Rows, draw, write
from apps.chest_vit.studies.observations import ambiguity
from apps.compare.harness import Trial, draw_settings, identify
from apps.io.atomic import write_file
from apps.report.disk import disk_sample, project_to_disk
from geomdml.spaces import Hyperbolic

PORTRAYED = ("H", "H + E")
ON_THE_DISK = "H + E"
BINS = 60
MOST_ROWS = 500  # test images in the file of radii
Arrays = dict[str, np.ndarray]


def portraits(experiment: ChestExperiment, folder: Path, seed: int) -> list[Path]:
    """Train those of PORTRAYED that are compared once more, to look at them; the files, figures last."""
    seen = {
        name: observed(experiment, name, folder / "portraits", seed)
        for name in PORTRAYED
        if name in experiment.candidates
    }
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
    trial = Trial(name, draw_settings(experiment.candidates[name], 1, 0)[0], seed, "final", (), None)
    path = folder / f"{identify(experiment, trial)[1]}.npz"
    if not path.is_file():
        print(f"observing {name}", file=sys.stderr, flush=True)
        arrays = observe(experiment, trial)
        write_file(path, lambda part: np.savez(part, allow_pickle=False, **arrays))
    with np.load(path) as kept:  # arrays alone: NumPy refuses pickles
        return dict(kept)


def observe(experiment: ChestExperiment, trial: Trial) -> Arrays:
    """Train, and give gradients over the steps and, at the end, similarities, radii and places on the disk."""
    gradients, models = [], []

    def watch(step: int, norms: dict[str, float]) -> None:
        gradients.append([step, *(norms.get(f"gradient, {name}", np.nan) for name in ("H", "E", "cosine"))])

    def keep(model: CHEST, at_the_end: bool) -> dict[str, float]:
        models.append(model)
        return {}

    for _ in experiment.run(trial, keep, watch):
        pass
    model = models[-1]
    train, test = (experiment.outputs(model, part) for part in ("train", "test"))
    train_labels, test_labels = (torch.from_numpy(experiment.maps.images(part).labels) for part in ("train", "test"))
    sample = torch.tensor(similarity_sample(model, experiment.data))
    proxies = model.loss.proxies
    assert proxies is not None  # candidates that are observed have SoftTriple's
    own, others = similarities(model, proxies.vectors, train["H"][sample], train_labels[sample].to(train["H"].device))
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
    if trial.candidate == ON_THE_DISK:
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
    """Of each training class its size and its images' mean radius; of test images ambiguity and radius."""
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
