"""Does curvature pay where classes form a hierarchy? Heads of few dimensions on frozen features; see the docs.

    python -m apps.chest_vit.studies.hierarchies --folder runs/study-hierarchies

A run is one line of runs.csv: killed anywhere, the command goes on where it was.
"""

import argparse
import csv
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from apps.chest_vit import packaged_hierarchies
from apps.chest_vit.studies.hierarchy_figure import draw
from apps.datasets.registry import PACKAGED
from apps.datasets.split import split_classes
from apps.io.atomic import write_file
from apps.io.packages import cache_folder, make_once
from apps.networks.pretrained import PACKAGED_NORMALISATION, backbone
from apps.training.sampling import seed_of
from geomdml import clip_norm
from geomdml.losses import TreeProxyLoss
from geomdml.metrics import distance_correlation, hierarchical_retrieval, radius_correlation
from geomdml.spaces import Euclidean, Hyperbolic

DATA = ("emoji", "furniture")
DIMENSIONS = ((2, 8, 64), (4, 16, 128, 3))  # in the order in which they are run, all data sets and seeds for each group
SCORED = 1200  # about how many images of unseen classes: every second, third … class
C, CLIP, FLAT = 0.5, 1.0, 0.001  # those of docs/reports/study.md
TREES = ("flat", "tree")
SEEDS = (0, 1, 2)
RATES = (0.001, 0.003, 0.01, 0.03)
SEARCHED = (4, 64)  # the rate found at 4 serves the dimensions up to 8, that found at 64 the others
STEPS, BATCH = 100, 256
RADIUS = 0.8 / math.sqrt(C)  # where points start, in every space
HELD = 2  # images of each training class that are kept out, to score seen classes


class Setting(NamedTuple):
    """A space: how points are placed and measured."""

    space: Euclidean | Hyperbolic
    place: Callable[[Tensor], Tensor] | None


def spaces() -> dict[str, Setting]:
    return {
        "euclidean": Setting(Euclidean(), None),
        "cosine": Setting(Euclidean(), torch.nn.functional.normalize),
        "hyperbolic": Setting(Hyperbolic(c=C), None),
        "hyperbolic, clipped": Setting(Hyperbolic(c=C), _clip),
        "flat, clipped": Setting(Hyperbolic(c=FLAT), _clip),
    }


def _clip(points: Tensor) -> Tensor:
    return clip_norm(points, CLIP)


class Trial(NamedTuple):
    """One training; `stage` "search" scores on validation classes, "final" on unseen and on seen ones."""

    data: str
    space: str
    tree: str
    dimension: int
    rate: float
    seed: int
    stage: str


class Part(NamedTuple):
    """Features and classes of some images, the classes numbered from 0, and the tree above these."""

    features: Tensor
    labels: Tensor
    parents: Tensor


@cache
def parts(name: str) -> dict[str, Part]:
    """What trains, what is kept out of the training classes ("seen"), the validation and the unseen classes."""
    folder = make_once(cache_folder() / "hierarchy-study" / name, lambda unfinished: _make_features(unfinished, name))
    features = torch.from_numpy(np.load(folder / "features.npy", allow_pickle=False))
    labels = np.load(folder / "labels.npy", allow_pickle=False)
    classes = (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
    found: dict[str, Part] = {}
    for part, chosen in split_classes(len(classes), 0.1, 0).items():
        rows = np.flatnonzero(np.isin(labels, chosen))
        parents = packaged_hierarchies.load(name, [classes[each] for each in chosen])
        number = torch.from_numpy(np.searchsorted(chosen, labels[rows]))
        found[part] = Part(features[rows], number, parents)
    train = found["train"]
    held = _held_out(train.labels)
    found["train"] = Part(train.features[~held], train.labels[~held], train.parents)
    found["seen"] = Part(train.features[held], train.labels[held], train.parents)
    stride = -(-len(found["test"].labels) // SCORED)
    found["test"] = _every(found["test"], stride)
    return {"unseen" if part == "test" else part: value for part, value in found.items()}


def _every(part: Part, stride: int) -> Part:
    """Each `stride`-th class; the others stay in the tree, without images."""
    rows = part.labels % stride == 0
    return Part(part.features[rows], part.labels[rows], part.parents)


def _held_out(labels: Tensor) -> Tensor:
    rng = np.random.default_rng(0)
    held = torch.zeros(len(labels), dtype=torch.bool)
    for each in labels.unique():
        held[torch.from_numpy(rng.permutation(np.flatnonzero(labels == each))[:HELD])] = True
    return held


def _make_features(folder: Path, name: str) -> None:
    images, model = PACKAGED[name].load(128), backbone("efficientnet_lite0", "packaged").eval()
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in PACKAGED_NORMALISATION)
    found = []
    with torch.no_grad():
        for start in range(0, len(images), 64):
            batch = [images.image(row).float() / 255 for row in range(start, min(start + 64, len(images)))]
            found.append(model((torch.stack(batch) - mean) / std))
    np.save(folder / "features.npy", torch.cat(found).numpy())
    np.save(folder / "labels.npy", images.labels)
    (folder / "classes.txt").write_text("\n".join(images.classes), encoding="utf-8")


def train(trial: Trial) -> tuple[Callable[[Tensor], Tensor], TreeProxyLoss]:
    """The trained head, from features to embeddings, and the loss with its proxies."""
    of = parts(trial.data)["train"]
    torch.manual_seed(seed_of(trial.seed))
    setting = spaces()[trial.space]
    classes = int(of.labels.max()) + 1
    width = of.features.shape[1]
    linear = torch.nn.Linear(width, trial.dimension)
    start = CLIP / 2 if setting.place is _clip else RADIUS
    torch.nn.init.normal_(linear.weight, std=start / math.sqrt(width * trial.dimension))
    torch.nn.init.zeros_(linear.bias)
    tree = of.parents if trial.tree == "tree" else torch.full((classes,), -1)
    loss = TreeProxyLoss(tree, trial.dimension, space=setting.space, place=setting.place)

    def head(features: Tensor) -> Tensor:
        points = linear(torch.nn.functional.layer_norm(features, (width,)))
        return points if setting.place is None else setting.place(points)

    with torch.no_grad():
        loss.start_at(head(of.features), of.labels)
    optimiser = torch.optim.Adam(
        [{"params": linear.parameters(), "lr": trial.rate / 10}, {"params": loss.parameters(), "lr": trial.rate}]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(of.labels), (BATCH,))
        optimiser.zero_grad()
        loss(head(of.features[rows]), of.labels[rows]).backward()
        optimiser.step()
        schedule.step()
    return head, loss


def score(trial: Trial) -> dict[str, float]:
    """Recall@1 (fine, coarse), hierarchical AP, severity and correlation in percent, by part."""
    head, loss = train(trial)
    space = spaces()[trial.space].space
    found: dict[str, float] = {}
    for part in ("validation",) if trial.stage == "search" else ("unseen", "seen"):
        features, labels, parents = parts(trial.data)[part]
        points = head(features).detach()
        scores = hierarchical_retrieval(points, labels, parents, space=space)
        *coarse, fine = [math.nan if level is None else 100 * level[1] for level in scores.recall]
        found |= {
            f"{part} fine": fine,
            f"{part} coarse": coarse[0],
            f"{part} middle": coarse[-1],
            f"{part} H-AP": 100 * (scores.hierarchical_ap or math.nan),
            f"{part} severity": scores.severity,
            f"{part} distances ~ tree": 100 * distance_correlation(points, labels, parents, space=space),
        }
    if trial.stage == "final":
        radii = points.norm(dim=1).quantile(torch.tensor([0.05, 0.95])).tolist()
        found |= {"radius 5 %": radii[0], "radius 95 %": radii[1]}
        if trial.tree == "tree" and spaces()[trial.space].place is None:  # else radii are not free
            found["radius ~ depth"] = 100 * radius_correlation(
                loss.proxies.detach().norm(dim=1), parts(trial.data)["train"].parents
            )
    return found


class Table:
    """The finished runs, one a line; another process's lines are read too."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[Trial, dict[str, float]] = {}
        if path.is_file():
            with path.open(newline="") as file:
                for row in csv.DictReader(file):
                    key = (row.pop("dimension"), row.pop("rate"), row.pop("seed"))
                    names = {field: row.pop(field) for field in ("data", "space", "tree", "stage")}
                    trial = Trial(**names, dimension=int(key[0]), rate=float(key[1]), seed=int(key[2]))
                    self.rows[trial] = {name: float(value) for name, value in row.items() if value}

    def run(self, trial: Trial) -> dict[str, float]:
        if trial not in self.rows:
            started = time.monotonic()
            self.rows[trial] = score(trial) | {"seconds": time.monotonic() - started}
            write_file(self.path, self._write)
            print(trial, {name: round(value, 2) for name, value in self.rows[trial].items()}, flush=True)
        return self.rows[trial]

    def _write(self, part: Path) -> None:
        names = list(dict.fromkeys(name for row in self.rows.values() for name in row))
        with part.open("w", newline="") as file:
            table = csv.DictWriter(file, [*Trial._fields, *names], restval="", lineterminator="\n")
            table.writeheader()
            for trial, row in self.rows.items():
                table.writerow(trial._asdict() | {name: f"{value:.6g}" for name, value in row.items()})


def trials(table: Table, name: str, dimensions: Sequence[int]) -> Iterator[Trial]:
    """The finals of a data set, each with the rate that validation chose."""
    for seed, dimension in itertools.product(SEEDS, dimensions):
        searched = SEARCHED[0] if dimension <= 8 else SEARCHED[1]
        for space, tree in itertools.product(spaces(), TREES):
            options = [Trial(name, space, tree, searched, rate, 0, "search") for rate in RATES]
            best = max(options, key=lambda each: table.run(each)["validation H-AP"])
            yield Trial(name, space, tree, dimension, best.rate, seed, "final")


def summary(table: Table, part: str) -> str:
    """Markdown: fine Recall@1, coarse Recall@1 and H-AP of a part by space and dimension, mean ± spread over seeds."""
    finals = {trial: row for trial, row in table.rows.items() if trial.stage == "final"}
    dimensions = sorted({trial.dimension for trial in finals})
    lines = ["| space, labels | " + " | ".join(map(str, dimensions)) + " |", "|---" * (1 + len(dimensions)) + "|"]
    for tree, space in itertools.product(TREES, spaces()):
        cells = []
        for dimension in dimensions:
            kept = [row for t, row in finals.items() if (t.space, t.tree, t.dimension) == (space, tree, dimension)]
            cells.append(
                " / ".join(_mean(row[f"{part} {name}"] for row in kept) for name in ("fine", "coarse", "H-AP"))
            )
        lines.append(f"| {space}, {tree} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean(values: Iterable[float]) -> str:
    """Mean ± standard deviation, which one value does not have."""
    numbers = list(values)
    if not numbers:
        return "–"
    return f"{mean(numbers):.1f}" + (f" ± {stdev(numbers):.1f}" if len(numbers) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/study-hierarchies"))
    parser.add_argument("--data", choices=DATA, nargs="+", default=DATA)
    arguments = parser.parse_args()
    tables = {name: Table(arguments.folder / f"{name}.csv") for name in arguments.data}
    for dimensions, name in itertools.product(DIMENSIONS, arguments.data):
        for trial in trials(tables[name], name, dimensions):
            tables[name].run(trial)
    for name, table in tables.items():
        draw(arguments.folder / f"{name}.png", table.rows)
    for name, part in itertools.product(arguments.data, ("unseen", "seen")):
        print(f"\n{name}, {part} classes: Recall@1 fine / coarse / H-AP\n\n{summary(tables[name], part)}")


if __name__ == "__main__":
    main()
