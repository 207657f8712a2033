"""What are colours, normals and attention worth on the furniture? Five splits; see docs/reports/shape3d.md.

    python -m apps.shape3d.studies.views --folder runs/study-views

Each shape is imaged from twelve cameras in several ways, and the frozen backbone's features of all images are kept. A
run trains the network of `apps.shape3d` on those of some ways. It is one line of views.csv: killed anywhere, the
command goes on where it was.
"""

import argparse
import csv
import itertools
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from apps.evaluation.scores import shrec_scores
from apps.io.atomic import write_file
from apps.io.packages import cache_folder, make_once
from apps.networks.view_backbone import ViewBackbone
from apps.shape3d.baselines import linear_probe
from apps.shape3d.model import Shape3D, accuracy, side_by_side
from apps.training.sampling import seed_of
from apps.training.shape_data import ShapeData, ViewBatch
from geomdml.spaces import Euclidean

WAYS: dict[str, dict[str, Any]] = {
    "grey": {},
    "colours": {"colours": True},
    "albedo": {"shading": "albedo"},
    "normals": {"shading": "normals"},
}


class Setting(NamedTuple):
    """The ways in which shapes are imaged, and how their views become a shape."""

    ways: tuple[str, ...]
    pooling: str = "mean"
    positions: bool = False
    channels: bool = False


SETTINGS: dict[str, Setting] = {
    "grey": Setting(("grey",)),
    "grey, attention": Setting(("grey",), "attention"),
    "grey, attention by positions": Setting(("grey",), "attention", True),
    "colours": Setting(("colours",)),
    "normals": Setting(("normals",)),
    "grey + normals": Setting(("grey", "normals")),
    "grey + normals, as channels": Setting(("grey", "normals"), channels=True),
    "colours + normals": Setting(("colours", "normals")),
    "colours + normals, as channels": Setting(("colours", "normals"), channels=True),
    "colours + normals, attention by positions": Setting(("colours", "normals"), "attention", True),
    "all four": Setting(tuple(WAYS)),
    "all four, as channels": Setting(tuple(WAYS), channels=True),
}
SEEDS = range(5)
CAMERAS, SEEN, EPOCHS = 12, 4, 40
MODEL: dict[str, Any] = {"frozen": -1, "dropout": 0.5, "loss": "softmax", "scale": 4.0, "lr": 3e-3}
SCORES = ("accuracy", "mAP", "probe accuracy", "probe mAP")


@cache
def data() -> ShapeData:
    return ShapeData(views=CAMERAS, train_views=SEEN)


@cache
def features(way: str) -> Tensor:
    """(N, cameras, F) what the frozen backbone makes of the images of all shapes, at half precision."""
    folder = make_once(cache_folder() / "views-study" / way, lambda unfinished: _make_features(unfinished, way))
    return torch.from_numpy(np.load(folder / "features.npy", allow_pickle=False))


@torch.no_grad()
def _make_features(folder: Path, way: str) -> None:
    backbone = ViewBackbone("efficientnet_lite0", "packaged", frozen=-1).eval()
    images = ShapeData(views=CAMERAS, train_views=SEEN, **WAYS[way]).whole.views
    found = [backbone.early(images[row]).half() for row in range(len(data().labels))]
    np.save(folder / "features.npy", torch.stack(found).numpy())


def score(setting: Setting, seed: int) -> dict[str, float]:
    """What a network makes of the split of a seed, and what a linear probe makes of the same features."""
    shapes = data()
    split, views = shapes.split(seed, 0.0), torch.cat([features(way) for way in setting.ways], 1)
    train, test = split["train"], split["test"]
    torch.manual_seed(seed)
    how: dict[str, Any] = {"pooling": setting.pooling, "positions": setting.positions, "channels": setting.channels}
    model = Shape3D(shapes.classes, **MODEL, **how, shading=cast("Any", setting.ways))
    model.memory = dict(enumerate(views))
    batches = shapes.batches(train, seed)
    optimizer, schedule = model.optimiser(EPOCHS * len(batches))
    for epoch in range(EPOCHS):
        batches.set_epoch(epoch)
        for place, chosen in enumerate(batches):
            torch.manual_seed(seed_of(seed, epoch, place))
            seen = _some(setting, len(chosen), seed_of(seed, epoch, place))
            optimizer.zero_grad()
            model.step(_batch(train[chosen], seen))["loss"].backward()
            optimizer.step()
            schedule.step()
    model.eval()
    labels = {"train": shapes.labels[train], "test": shapes.labels[test]}
    with torch.no_grad():
        found = model.outputs(views[test].float()) | {"labels": labels["test"]}
    means = torch.nn.functional.normalize(side_by_side(views.float(), model.side_by_side).mean(1))
    probe = linear_probe(means[train], labels["train"], means[test], shapes.num_classes).logits
    return {
        "accuracy": accuracy(found),
        "mAP": shrec_scores(found["embeddings"], labels["test"], model.space)["mAP"],
        "probe accuracy": accuracy({"logits": probe, "labels": labels["test"]}),
        "probe mAP": shrec_scores(probe.softmax(1), labels["test"], Euclidean())["mAP"],
    }


def _some(setting: Setting, count: int, seed: int) -> Tensor:
    """The views that a step sees: all ways of four cameras as channels; else four a way, of any cameras and ways."""
    ways = len(setting.ways)
    of = CAMERAS if setting.channels else CAMERAS * ways
    drawn = np.random.default_rng(seed).permuted(np.tile(np.arange(of), (count, 1)), axis=1)
    if not setting.channels:
        return torch.from_numpy(drawn[:, : SEEN * ways])
    return torch.from_numpy(np.concatenate([drawn[:, :SEEN] + CAMERAS * way for way in range(ways)], 1))


def _batch(rows: Tensor, seen: Tensor) -> ViewBatch:
    """Shapes whose features are in the network's memory."""
    return ViewBatch(rows, torch.empty(len(rows), 0, dtype=torch.uint8), seen, data().labels[rows])


def finished(path: Path) -> dict[tuple[str, int], dict[str, float]]:
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["setting"], int(row["seed"])): {name: float(row[name]) for name in SCORES} for row in rows}


def write(path: Path, runs: dict[tuple[str, int], dict[str, float]]) -> None:
    def lines(part: Path) -> None:
        with part.open("w", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["setting", "seed", *SCORES])
            table.writerows([*key, *(f"{row[name]:.6g}" for name in SCORES)] for key, row in runs.items())

    write_file(path, lines)


def summary(runs: dict[tuple[str, int], dict[str, float]]) -> str:
    """Markdown: mean ± standard deviation over the splits; the last column compares split by split."""
    lines = [f"| views | {' | '.join(SCORES)} | accuracy above the probe |", "|---" * (2 + len(SCORES)) + "|"]
    for name in SETTINGS:
        rows = [row for (setting, _), row in runs.items() if setting == name]
        if len(rows) > 1:
            gains = [row["accuracy"] - row["probe accuracy"] for row in rows]
            cells = [[row[score] for row in rows] for score in SCORES] + [gains]
            lines.append(f"| {name} | " + " | ".join(f"{mean(c):.1f} ± {stdev(c):.1f}" for c in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/study-views"))
    path = parser.parse_args().folder / "views.csv"
    runs = finished(path)
    for seed, name in itertools.product(SEEDS, SETTINGS):
        if (name, seed) not in runs:
            runs[name, seed] = score(SETTINGS[name], seed)
            write(path, runs)
            print(name, seed, {score: round(value, 1) for score, value in runs[name, seed].items()}, flush=True)
    print(summary(runs))


if __name__ == "__main__":
    main()
