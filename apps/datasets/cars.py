"""Cars196: 196 models of cars; the first 98 train, the others test."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from apps.datasets import class_folders, folder, listed
from apps.datasets.labelled_images import LabelledImages, join
from apps.datasets.split import Count, Split

NAME = "Cars196"
LAYOUT = (
    "Cars196 is a folder with cars_annos.mat and the images in car_ims/, or (as for torchvision, there in "
    "stanford_cars/) with devkit/, cars_test_annos_withlabels.mat, cars_train/ and cars_test/, or with one folder of "
    "images for each of the 196 classes (in train/ and test/, or directly)"
)
PUBLISHED = {"train": Count(98, 8_054), "query": Count(98, 8_131)}
FILES = ("cars_annos.mat", "car_ims")
META = "devkit/cars_meta.mat"
PARTS = {"cars_train": "devkit/cars_train_annos.mat", "cars_test": "cars_test_annos_withlabels.mat"}
BELOW = ("", "stanford_cars")
CLASSES, TRAIN_CLASSES = 196, 98
GREATEST_MAT = 64 * 2**20
BY = "by class, the first 98 train"


def is_at(root: Path) -> bool:
    """Whether the annotations lie there; class folders are recognised by their number, 196."""
    if (root / FILES[0]).exists() or _is_of_torchvision(root):
        return True
    return len({path.name for path in find_class_folders(root)}) == CLASSES


def load(root: str | Path, *, strict: bool = False) -> Split:
    """The cars of `root`; classes in the order of cars_annos.mat, or of the names of their folders.

    Raises:
        ValueError: another layout, with the path that is missing; see `listed.parts` and `folder.load`.
    """
    root = Path(root).expanduser()
    if _is_of_torchvision(root):
        return _of_torchvision(listed.base(root, (META, *PARTS, *PARTS.values()), LAYOUT, below=BELOW), strict)
    if any((root / name).exists() for name in FILES) or not find_class_folders(root):
        return _of_annotations(listed.base(root, FILES, LAYOUT), strict)
    images = _of_folders(root, strict)
    if len(images.classes) != CLASSES:
        raise ValueError(f"{str(root)!r} has {len(images.classes)} class folders; expected {CLASSES}: {LAYOUT}")
    train, test = range(TRAIN_CLASSES), range(TRAIN_CLASSES, CLASSES)
    return Split(images.of_classes(train), images.of_classes(test), by=BY)


def find_class_folders(root: Path) -> list[Path]:
    """The folders that stand for classes: those in train/ and test/, or those directly in `root`."""
    return [path for half in _halves(root) if half.is_dir() for path in class_folders.subfolders(half)]


def _halves(root: Path) -> list[Path]:
    return [root / half for half in ("train", "test") if (root / half).is_dir()] or [root]


def _is_of_torchvision(root: Path) -> bool:
    return any((root / below / name).exists() for below in BELOW for name in (META, *PARTS.values()))


def _of_annotations(base: Path, strict: bool) -> Split:
    path = base / FILES[0]
    content = _read(path)
    return _split(base, path, _rows(path, content, "relative_im_path"), _names(path, content), strict)


def _of_torchvision(base: Path, strict: bool) -> Split:
    found = []
    for place, file in PARTS.items():
        rows = _rows(base / file, _read(base / file), "fname")
        found += [(f"{place}/{name}", label) for name, label in rows]
    return _split(base, base / META, found, _names(base / META, _read(base / META)), strict)


def _read(path: Path) -> dict[str, Any]:
    if path.stat().st_size > GREATEST_MAT:
        raise ValueError(f"{str(path)!r} has more than {GREATEST_MAT >> 20} MB: it is not that of Cars196")
    try:
        content: dict[str, Any] = loadmat(path, simplify_cells=True)
    # Broken bytes lead scipy's reader anywhere.
    except Exception as error:
        raise ValueError(f"{str(path)!r} cannot be read as the annotations of Cars196: {error!r}") from error
    return content


def _names(path: Path, content: dict[str, Any]) -> list[str]:
    if "class_names" not in content:
        raise ValueError(f"{str(path)!r} cannot be read as the annotations of Cars196: it has no class_names")
    return [str(name) for name in np.atleast_1d(content["class_names"])]


def _rows(path: Path, content: dict[str, Any], name: str) -> list[tuple[str, int]]:
    """The images of annotations and the index of the class of each; `name` is the field of the image's name."""
    try:
        return [(str(row[name]), int(row["class"]) - 1) for row in np.atleast_1d(content["annotations"])]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(f"{str(path)!r} cannot be read as the annotations of Cars196: {error!r}") from error


def _split(base: Path, path: Path, found: list[tuple[str, int]], classes: list[str], strict: bool) -> Split:
    if not all(0 <= label < len(classes) for _, label in found) or len(set(classes)) != len(classes):
        raise ValueError(f"{str(path)!r} has classes without names, or two of one name: {LAYOUT}")
    rows: dict[str, list[listed.Row]] = {"train": [], "query": []}
    for name, label in found:
        rows["train" if label < TRAIN_CLASSES else "query"].append((name, classes[label]))
    split = {"train": classes[:TRAIN_CLASSES], "query": classes[TRAIN_CLASSES:]}
    return Split(**listed.parts(base, rows, split, strict=strict), by=BY)


def _of_folders(root: Path, strict: bool) -> LabelledImages:
    images = join(*(folder.load(half, strict=strict) for half in _halves(root)))
    order = sorted(range(len(images.classes)), key=images.classes.__getitem__)
    return images.of_classes(order)
