"""ModelNet10 and ModelNet40 as they are distributed: ROOT/CLASS/train/*.off and ROOT/CLASS/test/*.off.

ROOT may also be the folder that holds ModelNet10 or ModelNet40.
"""

from pathlib import Path

import numpy as np

from apps.datasets import class_folders, left_out
from apps.datasets.mesh_folder import title
from apps.io.labels import index_classes
from apps.shapes.labelled_shapes import Shapes
from apps.shapes.meshes import MeshFile, Up

LAYOUT = "expected ModelNet's layout, as in ROOT/chair/train/chair_0001.off and ROOT/chair/test/chair_0890.off"


def load(root: str | Path, *, strict: bool = False) -> Shapes:
    """ModelNet's shapes with its own split; z is up in its files.

    Raises:
        ValueError: no such folder, several of ModelNet in it, or another layout; names the path. When `strict`, a class
            without meshes.
    """
    root = _base(Path(root).expanduser())
    paths, others = class_folders.find(
        root, {".off"}, what="meshes", example="ROOT/chair/train/chair_0001.off", strict=strict
    )
    left_out.warn(root, "meshes", others)
    names = tuple(class_folders.printable(path.relative_to(root)) for path in paths)
    parts = [path.relative_to(root).parts for path in paths]
    for path, part in zip(paths, parts, strict=True):
        if len(part) != 3 or part[1] not in ("train", "test"):
            raise ValueError(f"{str(path)!r} is in neither a train nor a test folder of its class: {LAYOUT}")
    labels, classes = index_classes(name.partition("/")[0] for name in names)
    halves = {(part[0], part[1]) for part in parts}
    for folder in sorted({part[0] for part in parts}):
        for half in ("train", "test"):
            if (folder, half) not in halves:
                raise ValueError(f"{str(root / folder / half)!r} has no meshes: {LAYOUT}")
    return Shapes(
        title(root),
        labels,
        classes,
        names,
        np.array([part[1] == "test" for part in parts]),
        tuple(MeshFile(path, "z") for path in paths),
        "z",
    )


def load_folder(root: Path, *, up: Up, test: float, seed: int, strict: bool) -> Shapes:
    """As `load`: the axis and the split are ModelNet's own."""
    return load(root, strict=strict)


def is_at(root: Path) -> bool:
    """Whether a folder, or one in it, looks like ModelNet: a class folder holds train and test."""
    return _has_parts(root) or any(map(_has_parts, class_folders.subfolders(root)))


def _base(root: Path) -> Path:
    """The folder of the classes: `root`, or the one in it."""
    if not root.is_dir() or _has_parts(root):
        return root
    found = [folder for folder in class_folders.subfolders(root) if _has_parts(folder)]
    if len(found) > 1:
        raise ValueError(f"{str(root)!r} holds ModelNet {len(found)} times; give {' or '.join(map(str, found))}")
    return found[0] if found else root


def _has_parts(root: Path) -> bool:
    return any((path / "train").is_dir() and (path / "test").is_dir() for path in class_folders.subfolders(root))
