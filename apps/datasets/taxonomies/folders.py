"""The tree of a folder and the folders in it as a taxonomy."""

import os
from collections.abc import Iterator
from pathlib import Path

from apps.datasets.class_folders import is_hidden, printable
from apps.datasets.taxonomies.taxonomy import Mending, Taxonomy, taxonomy


def load(root: Path, *, mending: Mending = Mending()) -> Taxonomy:
    """Each folder is a node, named by its path from `root`, which is the root; files are no nodes.

    Links, and folders that hold no data (`class_folders.is_hidden`), are passed over.

    Raises:
        ValueError: no folders in it, or one that cannot be read.
    """
    top = printable(Path(root.resolve().name or "root"))
    return taxonomy(f"the folders of {root}", _edges(root, top), mending=mending)


def _edges(root: Path, top: str) -> Iterator[tuple[str, str]]:
    for folder, subfolders, _ in os.walk(root, onerror=_unreadable):
        subfolders[:] = sorted(name for name in subfolders if not is_hidden(name))
        parent = Path(folder).relative_to(root)
        for name in subfolders:
            if not Path(folder, name).is_symlink():
                yield f"{top}/{printable(parent / name)}", f"{top}/{printable(parent)}".removesuffix("/.")


def _unreadable(error: OSError) -> None:
    raise ValueError(f"{error.filename!r} cannot be read: {error.strerror}") from error
