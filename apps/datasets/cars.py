"""Cars196: 196 models of cars; the first 98 train, the others test."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from apps.datasets import folder, listed
from apps.datasets.labelled_images import LabelledImages, join
from apps.datasets.split import Count, Split

NAME = "Cars196"
LAYOUT = (
    "Cars196 is a folder with cars_annos.mat and the images in car_ims/, or with one folder of images for each of "
    "the 196 classes (in train/ and test/, or directly)"
)
PUBLISHED = {"train": Count(98, 8_054), "query": Count(98, 8_131)}
FILES = ("cars_annos.mat", "car_ims")
CLASSES, TRAIN_CLASSES = 196, 98
GREATEST_MAT = 64 * 2**20
BY = "by class, the first 98 train"


def is_at(root: Path) -> bool:
    """Whether the annotations lie there; class folders are recognised by their number, 196."""
    return (root / FILES[0]).exists() or len({path.name for path in class_folders(root)}) == CLASSES


def load(root: str | Path, *, strict: bool = False) -> Split:
    """The cars of `root`; classes in the order of cars_annos.mat, or of the names of their folders.

    Raises:
        ValueError: another layout, with the path that is missing; see `listed.parts` and `folder.load`.
    """
    root = Path(root).expanduser()
    if any((root / name).exists() for name in FILES) or not class_folders(root):
        return _of_annotations(listed.base(root, FILES, LAYOUT), strict)
    images = _of_folders(root, strict)
    if len(images.classes) != CLASSES:
        raise ValueError(f"{str(root)!r} has {len(images.classes)} class folders; expected {CLASSES}: {LAYOUT}")
    train, test = range(TRAIN_CLASSES), range(TRAIN_CLASSES, CLASSES)
    return Split(images.of_classes(train), images.of_classes(test), by=BY)


def class_folders(root: Path) -> list[Path]:
    """The folders that stand for classes: those in train/ and test/, or those directly in `root`."""
    halves = [root / half for half in ("train", "test") if (root / half).is_dir()]
    return [path for half in (halves or [root]) if half.is_dir() for path in half.iterdir() if path.is_dir()]


def _of_annotations(base: Path, strict: bool) -> Split:
    path = base / FILES[0]
    if path.stat().st_size > GREATEST_MAT:
        raise ValueError(f"{str(path)!r} has more than {GREATEST_MAT >> 20} MB: it is not that of Cars196")
    try:
        content: dict[str, Any] = loadmat(path, simplify_cells=True)
        classes = [str(name) for name in np.atleast_1d(content["class_names"])]
        found = [(str(row["relative_im_path"]), int(row["class"]) - 1) for row in np.atleast_1d(content["annotations"])]
    # Broken bytes lead scipy's reader anywhere.
    except Exception as error:
        raise ValueError(f"{str(path)!r} cannot be read as the annotations of Cars196: {error!r}") from error
    if not all(0 <= label < len(classes) for _, label in found) or len(set(classes)) != len(classes):
        raise ValueError(f"{str(path)!r} has classes without names, or two of one name: {LAYOUT}")
    rows: dict[str, list[listed.Row]] = {"train": [], "query": []}
    for name, label in found:
        rows["train" if label < TRAIN_CLASSES else "query"].append((name, classes[label]))
    split = {"train": classes[:TRAIN_CLASSES], "query": classes[TRAIN_CLASSES:]}
    return Split(**listed.parts(base, rows, split, strict=strict), by=BY)


def _of_folders(root: Path, strict: bool) -> LabelledImages:
    halves = [root / half for half in ("train", "test") if (root / half).is_dir()]
    images = join(*(folder.load(half, strict=strict) for half in (halves or [root])))
    order = sorted(range(len(images.classes)), key=images.classes.__getitem__)
    return images.of_classes(order)
