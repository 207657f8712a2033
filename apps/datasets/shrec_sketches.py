"""The sketches of the SHREC'13 and SHREC'14 contests: CLASS/train/1.png and CLASS/test/2.png, anywhere below the root.

SHREC'13 has them in SHREC13_SBR_TRAINING_SKETCHES and SHREC13_SBR_TESTING_SKETCHES, SHREC'14 in SHREC14LSSTB_SKETCHES,
each as it is unpacked, where a folder may hold another of its name.
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from apps.datasets import class_folders, shrec
from apps.datasets.files import SUFFIXES, Files, text, whole
from apps.datasets.labelled_images import LabelledImages
from apps.io.labels import index_classes

PARTS = ("train", "test")
LAYOUT = (
    "expected sketches in the layout of SHREC'13 or '14, as in SHREC14LSSTB_SKETCHES/airplane/train/1.png and "
    ".../airplane/test/2.png"
)


class Sketches(NamedTuple):
    """Labelled sketches, and which of them are for testing."""

    images: LabelledImages
    test: Bool[np.ndarray, "N"]


def load(root: str | Path, *, strict: bool = False) -> Sketches:
    """The sketches below a folder, sorted by path; broken ones are left out and counted in a warning.

    Raises:
        ValueError: no such folder, no sketches for training or for testing, or a broken one when `strict`.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise ValueError(f"{str(root)!r} {'is a file' if root.exists() else 'does not exist'}: {LAYOUT}")
    decodable = [path for path in class_folders.list_files(root, SUFFIXES).paths if path.parent.name in PARTS]
    found = [path for path in decodable if path.suffix.lower() == ".png"]
    for part in PARTS:
        if not any(path.parent.name == part for path in found):
            raise ValueError(f"{str(root)!r} has no CLASS/{part}/*.png in it: {LAYOUT}")
    others = Counter(path.suffix.lower() for path in decodable)
    paths = whole(found, root, strict=strict, left_out={name: n for name, n in others.items() if name != ".png"})
    labels, classes = index_classes(text(path.parent.parent.name) for path in paths)
    images = LabelledImages(
        labels,
        classes,
        tuple(class_folders.printable(path.relative_to(root)) for path in paths),
        Files(tuple(paths), None),
    )
    return Sketches(images, np.array([path.parent.name == "test" for path in paths]))


def disagreements(root: str | Path, sketches: Sketches) -> list[str]:
    """Where the contests' own lists (*Sketch*Train*.cla, *Sketch*Test*.cla) do not say what the folders hold."""
    root = Path(root).expanduser()
    lines = []
    for path in class_folders.list_files(root, {".cla"}).paths:
        part = next((part for part in PARTS if "sketch" in path.name.lower() and part in path.name.lower()), None)
        if part is None:
            continue
        held: dict[str, set[str]] = {}
        for name in sketches.images.names:
            *_, of_class, of_part, file = name.split("/")
            if of_part == part:
                held.setdefault(of_class, set()).add(Path(file).stem)
        listed = {name: set(models) for name, models in shrec.read_list(path).items()}
        for name in sorted(held.keys() | listed.keys()):
            missing = len(listed.get(name, set()) - held.get(name, set()))
            more = len(held.get(name, set()) - listed.get(name, set()))
            if missing or more:
                lines.append(f"{path.name}: of {name}/{part} {missing} listed are missing and {more} are not listed")
    return lines
