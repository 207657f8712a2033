"""What the published benchmarks share: lists of images and classes beside folders of files."""

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np

from apps.datasets.files import Files, text, whole
from apps.datasets.labelled_images import LabelledImages

GREATEST_LIST = 64 * 2**20  # bytes; the longest published one has 6 MB

Row = tuple[str, str]  # the path of an image and the name of its class


def base(root: str | Path, files: Sequence[str], layout: str, *, below: Sequence[str] = ("",)) -> Path:
    """The folder, `root` or one of those `below` it, that has all these files and folders.

    Raises:
        ValueError: there is none; names what is missing, and the layout.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise ValueError(f"{str(root)!r} {'is a file' if root.exists() else 'does not exist'}: {layout}")
    missing = {folder: [name for name in files if not (root / folder / name).exists()] for folder in below}
    nearest = min(below, key=lambda folder: len(missing[folder]))
    if missing[nearest]:
        raise ValueError(f"{str(root / nearest / missing[nearest][0])!r} is missing: {layout}")
    return root / nearest


def table(path: Path, columns: int, *, header: int = 0) -> Iterator[tuple[str, ...]]:
    """The lines of a list after its header, each as so many words between blanks.

    Raises:
        ValueError: a file too large, not UTF-8, or a line with another number of words; names file and line.
    """
    if path.stat().st_size > GREATEST_LIST:
        raise ValueError(f"{str(path)!r} has more than {GREATEST_LIST >> 20} MB: it is no list of a benchmark")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}") from error
    for number, line in islice(enumerate(lines, start=1), header, None):
        words = line.split()
        if words and len(words) != columns:
            raise ValueError(
                f"line {number} of {str(path)!r} has {len(words)} words; expected {columns}: {line[:80]!r}"
            )
        if words:
            yield tuple(words)


def parts(
    root: Path, rows: Mapping[str, Sequence[Row]], classes: Mapping[str, Sequence[str]], *, strict: bool
) -> dict[str, LabelledImages]:
    """The images of each part, by the list of its rows and the names of its classes; broken ones are left out.

    Raises:
        ValueError: a part without images, a path that leads out of `root`, images that are not there; see `whole`.
    """
    for part, listed in rows.items():
        if not listed:
            raise ValueError(f"the lists in {str(root)!r} name no images for {part}")
    names = [name for listed in rows.values() for name, _ in listed]
    paths = dict(zip(names, _inside(root, names), strict=True))
    missing = [path for path in paths.values() if not os.path.isfile(path)]  # Path's own raises for an over-long name
    if missing:
        raise ValueError(
            f"{len(missing):,} of the {len(paths):,} images that are listed in {str(root)!r} are missing, first "
            f"{str(missing[0])!r}: unpack all archives of images"
        )
    sound = set(whole(list(paths.values()), root, strict=strict))
    found = {}
    for part, listed in rows.items():
        label = {name: index for index, name in enumerate(classes[part])}
        kept = [(name, of_class) for name, of_class in listed if paths[name] in sound]
        found[part] = LabelledImages(
            labels=np.array([label[of_class] for _, of_class in kept], dtype=np.int64),
            classes=tuple(classes[part]),
            names=tuple(text(name) for name, _ in kept),
            source=Files(tuple(paths[name] for name, _ in kept), None),
            root=root,
        )
    return found


def _inside(root: Path, names: Sequence[str]) -> Iterator[Path]:
    """The paths of names below `root`; a name or a link that leads out of it is refused."""
    top = root.resolve()
    folders: dict[Path, Path] = {}
    for name in names:
        path = root / name
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or path.drive != root.drive:
            raise ValueError(f"{name!r} is listed in {str(root)!r}, but leads out of it")
        if path.parent not in folders:
            folders[path.parent] = path.parent.resolve()
        target = path.resolve() if os.path.islink(path) else folders[path.parent]
        if not target.is_relative_to(top):
            raise ValueError(
                f"{str(path)!r} is a link that leads out of {str(root)!r}: put the images themselves there"
            )
        yield path
