"""Files in the layout of one folder a class."""

import os
from collections.abc import Set
from pathlib import Path
from typing import NamedTuple

from apps.datasets.files import text


class Found(NamedTuple):
    """Files of class folders, in order; `left_out` counts the others by what they are."""

    paths: tuple[Path, ...]
    left_out: dict[str, int]


def find(root: Path, suffixes: Set[str], *, what: str, example: str) -> Found:
    """The files with one of the suffixes in ROOT/CLASS/ or deeper, sorted.

    Links that lead out of `root` or to folders are left out, as is what lies directly in `root`. Names that start with
    a dot are passed over.

    Args:
        suffixes: in small letters, with their dots.
        what: the plural of what is looked for, such as "images", for messages.
        example: a path in the expected layout.

    Raises:
        ValueError: no such folder, no class folders, or one without files; names the path.
    """
    layout = f"expected a folder that holds one folder of {what} for each class, as in {example}"
    if not root.is_dir():
        state = "is a file" if root.exists() else "does not exist"
        raise ValueError(f"{str(root)!r} {state}: {layout}")
    found, links = list_files(root, suffixes)
    kept = [path for path in found if path.parent != root]
    loose = len(found) - len(kept)
    folders = [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]
    classes = sorted(path.name for path in folders if not path.name.startswith("."))
    if not classes:
        state = f"{loose} {what} directly in it, no class folders" if loose else "no class folders"
        raise ValueError(f"{str(root)!r} has {state}: {layout}")
    filled = {path.relative_to(root).parts[0] for path in kept}
    if empty := [name for name in classes if name not in filled]:
        others = f" and {len(empty) - 1} more have" if len(empty) > 1 else " has"
        raise ValueError(
            f"class folder {str(root / empty[0])!r}{others} no {what} that can be used "
            f"({', '.join(sorted(suffixes))}): put some in or remove it"
        )
    return Found(tuple(kept), {"links to folders or out of it": links, "in no class folder": loose})


def list_files(root: Path, suffixes: Set[str]) -> tuple[list[Path], int]:
    """The files with one of the suffixes below `root`, sorted, and how many links are left out.

    Raises:
        ValueError: a folder that cannot be read.
    """
    inside = root.resolve()
    files = []
    links = 0
    for folder, subfolders, names in os.walk(root, onerror=_unreadable):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        links += sum(Path(folder, name).is_symlink() for name in subfolders)
        found = [name for name in names if not name.startswith(".") and Path(name).suffix.lower() in suffixes]
        for path in (Path(folder, name) for name in found):
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                links += 1
            else:
                files.append(path)
    return sorted(files, key=lambda path: path.relative_to(root).parts), links


def printable(path: Path) -> str:
    """A path with slashes that can be printed: bytes that are no UTF-8 are written out."""
    return text(path.as_posix())


def _unreadable(error: OSError) -> None:
    raise ValueError(f"{error.filename!r} cannot be read: {error.strerror}") from error
