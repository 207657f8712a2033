"""Your own meshes: a folder with a folder of meshes for each class."""

import hashlib
import re
from pathlib import Path

from apps.datasets import class_folders, left_out
from apps.io.labels import index_classes
from apps.shapes.labelled_shapes import Shapes, mark_test
from apps.shapes.meshes import SUFFIXES, MeshFile, Up


def is_at(root: Path) -> bool:
    """Any folder may be one; `load` says what it lacks."""
    return root.is_dir()


def load(root: str | Path, *, up: Up = "y", test: float = 0.3, seed: int = 0, strict: bool = False) -> Shapes:
    """The meshes below `root`; the folders directly in it are the classes, sorted, as are their meshes.

    No mesh is opened yet. Links that lead out of `root` or to folders, class folders without meshes, and files of
    other kinds are left out and counted in a warning.

    Args:
        root: off, obj, stl, ply, glb and gltf lie in ROOT/CLASS/ or deeper.
        up: the axis that points up in the files.
        test: the share of shapes for testing, stratified.
        seed: of the split.
        strict: a class folder without meshes is an error.

    Raises:
        ValueError: no such folder, another layout, a class with one mesh; names the path. When `strict`, one without.
    """
    root = Path(root).expanduser()
    paths, others = class_folders.find(root, SUFFIXES, what="meshes", example="ROOT/chair/1.off", strict=strict)
    left_out.warn(root, "meshes", others)
    names = tuple(class_folders.printable(path.relative_to(root)) for path in paths)
    labels, classes = index_classes(name.partition("/")[0] for name in names)
    return Shapes(
        title(root),
        labels,
        classes,
        names,
        mark_test(labels, test=test, seed=seed),
        tuple(MeshFile(path, up) for path in paths),
        up,
    )


load_folder = load


def title(root: Path) -> str:
    """A folder's name and a hash of where it is, as it may be called in the cache.

    >>> title(Path("/data/My shapes"))
    'My-shapes-29adb0fd'
    """
    place = str(root.absolute()).encode(errors="surrogateescape")
    return f"{re.sub('[^A-Za-z0-9.]+', '-', root.absolute().name)}-{hashlib.sha256(place).hexdigest()[:8]}"
