"""Your own meshes: a folder with a folder of meshes for each class."""

import hashlib
import logging
import re
from pathlib import Path

import numpy as np

from apps.datasets import class_folders
from apps.shapes.labelled_shapes import Shapes, stratified
from apps.shapes.meshes import SUFFIXES, MeshFile, Up

log = logging.getLogger(__name__)


def load(root: str | Path, *, up: Up = "y", test: float = 0.3, seed: int = 0) -> Shapes:
    """The meshes below `root`; the folders directly in it are the classes, sorted, as are their meshes.

    No mesh is opened yet. Links that lead out of `root` or to folders are left out and counted in a warning.

    Args:
        root: off, obj, stl, ply, glb and gltf lie in ROOT/CLASS/ or deeper.
        up: the axis that points up in the files.
        test: the share of shapes for testing, stratified.
        seed: of the split.

    Raises:
        ValueError: no such folder, another layout, a class without meshes or with one; names the path.
    """
    root = Path(root).expanduser()
    paths, left_out = class_folders.find(root, SUFFIXES, what="meshes", example="ROOT/chair/1.off")
    if any(left_out.values()):
        parts = ", ".join(f"{count} {what}" for what, count in left_out.items() if count)
        log.warning("left out of the meshes in %r: %s", str(root), parts)
    names = tuple(class_folders.printable(path.relative_to(root)) for path in paths)
    classes, labels = np.unique([name.partition("/")[0] for name in names], return_inverse=True)
    return Shapes(
        title(root),
        labels.astype(np.int64),
        tuple(classes.tolist()),
        names,
        stratified(labels, test=test, seed=seed),
        tuple(MeshFile(path, up) for path in paths),
    )


def title(root: Path) -> str:
    """A folder's name and a hash of where it is, as it may be called in the cache.

    >>> title(Path("/data/My shapes"))
    'My-shapes-29adb0fd'
    """
    place = str(root.absolute()).encode(errors="surrogateescape")
    return f"{re.sub('[^A-Za-z0-9.]+', '-', root.absolute().name)}-{hashlib.sha256(place).hexdigest()[:8]}"
