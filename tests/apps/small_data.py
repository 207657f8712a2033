"""Small data sets for runs of seconds, one for each app, as files in the layouts that the apps read."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.apps.boxes import boxes
from tests.apps.sketch.conftest import shrec13

CONFIGS = Path(__file__).parents[2] / "apps"


def images(root: Path) -> Path:
    """Fourteen classes of four images, each class a colour."""
    for label in range(14):
        colour = np.random.default_rng(label).integers(0, 255, 3)
        for index in range(4):
            path = root / f"class-{label:02}" / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng((label, index)).normal(0, 20, (24, 24, 3))
            Image.fromarray(np.clip(colour + noise, 0, 255).astype(np.uint8)).save(path)
    return root


def idx(root: Path) -> Path:
    """Digits that are bars at ten heights, with noise, in MNIST's files."""
    for part, count in (("train", 300), ("t10k", 100)):
        rng = np.random.default_rng(count)
        labels = np.arange(count) % 10
        pixels = rng.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        for image, label in zip(pixels, labels, strict=True):
            image[2 * label + 3 : 2 * label + 6] += 150
        head = struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28)
        (root / f"{part}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        head = struct.pack(">4BI", 0, 0, 8, 1, count)
        (root / f"{part}-labels-idx1-ubyte").write_bytes(head + labels.astype(np.uint8).tobytes())
    return root


def meshes(root: Path) -> Path:
    boxes(root)
    return root


def tree(root: Path) -> Path:
    """A tree of 63 nodes, in which all but the leaves have two children."""
    path = root / "tree.csv"
    path.write_text("child,parent\n" + "".join(f"n{node},n{node // 2}\n" for node in range(2, 64)))
    return path


# What writes the data of each app, and options with which an epoch is a few steps.
DATA: dict[str, tuple[Callable[[Path], Path], tuple[object, ...]]] = {
    "chest_vit": (images, ("--data.steps", 3, "--data.classes_per_batch", 4, "--data.validation", 0.3)),
    "digits": (idx, ("--data.limit", 200, "--data.batch_size", 32)),
    "multimodal": (meshes, ("--data.validation", 0.3, "--data.batch_size", 4)),
    "shape3d": (meshes, ("--data.validation", 0.3, "--data.batch_size", 4)),
    "sketch": (shrec13, ()),
    "taxonomy": (
        tree,
        ("--data.root_synset", "null", "--data.steps", 3, "--data.batch_size", 32, "--model.euclidean_steps", 0),
    ),
}


def command(app: str, name: str, data: Path, *options: object) -> tuple[object, ...]:
    """The words of a command of an app on these data, in this process's thread alone on a CPU."""
    config = CONFIGS / app / "configs/smoke.yaml"
    return (name, "--config", config, "--data.root", data, *DATA[app][1], "--trainer.accelerator", "cpu", *options)
