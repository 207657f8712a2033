"""Your own images in your own split: a table of paths, classes and parts."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from apps.datasets import image_list, left_out
from apps.datasets.files import SHOWN, text
from apps.datasets.image_list import DELIMITERS, Entry
from apps.datasets.split import Split

PARTS = ("train", "validation", "test")
EXPECTED = f"expected a table with columns path, label and split ({', '.join(PARTS)})"


def is_table(path: Path) -> bool:
    """Whether a path names a file of a kind that can be such a table: CSV, or TSV."""
    return path.suffix.lower() in DELIMITERS and path.is_file()


def load(path: str | Path, *, strict: bool = False) -> Split:
    """The images of a CSV or TSV file with columns path, label and split, which is train, validation or test.

    Paths are as in `image_list.load`: relative to the folder of the table, or else to the working folder. Every image
    is decoded once to check it; those that cannot be are left out and counted in a warning. Test classes may be those
    of training, or unseen. Validation may be missing.

    Args:
        strict: an image that cannot be decoded is an error.

    Raises:
        ValueError: no such table; a line without path, label or one of the splits, or whose image is not there or is
            another line's too; a part that cannot be used. Names the line.
    """
    path = Path(path).expanduser()
    if not is_table(path):
        state = "is a folder" if path.is_dir() else "is of no such kind" if path.exists() else "does not exist"
        raise ValueError(f"{str(path)!r} {state}; {EXPECTED}")
    part_of = dict(_checked(path, image_list.entries(path)))
    images, failed = image_list.load(path, strict=strict)
    reasons = "; ".join([reason for _, reason in failed[:SHOWN]] + ["..."] * (len(failed) > SHOWN))
    left_out.warn(path, "images", {f"broken ({reasons})": len(failed)})
    parts = {}
    for part in PARTS:
        found = images.of_rows([row for row, name in enumerate(images.names) if part_of[name] == part])
        counts = Counter(found.labels.tolist())
        if part == "train" and len(counts) < 2:
            raise ValueError(f"{str(path)!r} has fewer than two classes to train on ({len(counts)})")
        if (part == "test" or counts) and part != "train" and max(counts.values(), default=0) < 2:
            raise ValueError(f"{str(path)!r} has no class with two images for {part}: no image has another to find")
        parts[part] = found.of_classes(np.unique(found.labels).tolist()) if counts else None
    assert parts["train"] is not None and parts["test"] is not None
    return Split(parts["train"], parts["test"], validation=parts["validation"], by=f"as in {text(path.name)}")


def _checked(path: Path, entries: Iterable[Entry]) -> Iterator[tuple[str, str]]:
    """The name and the part of each image."""
    lines: dict[str, int] = {}
    for line, name, label, part in entries:
        where = image_list.place(path.parent, name)
        if not name:
            wrong = "has no path"
        elif not label:
            wrong = f"has no label for {text(name)!r}"
        elif part not in PARTS:
            wrong = f"has the split {part!r} for {text(name)!r}" if part else f"has no split for {text(name)!r}"
        elif not os.path.isfile(where):  # Path's own raises for an over-long name
            wrong = f"names {text(name)!r}, which is no file"
        elif (before := lines.setdefault(os.path.normpath(where), line)) != line:
            wrong = f"names {text(name)!r}, which line {before} has already"
        else:
            yield text(name), part
            continue
        raise ValueError(f"line {line} of {str(path)!r} {wrong}; {EXPECTED}")
