"""Your own pictures: a folder with a folder of pictures for each class."""

import os
from pathlib import Path

import numpy as np

from apps.datasets.files import SUFFIXES, Files, is_picture, text, whole
from apps.datasets.pictures import Pictures

LAYOUT = "a folder that holds one folder of pictures for each class is wanted, as in ROOT/robin/1.jpg"


def load(root: str | Path, *, size: int | None = None, strict: bool = False) -> Pictures:
    """The pictures below `root`; the folders directly in it are the classes, sorted, as are their pictures.

    Every file is opened at once and checked, and decoded only when asked for. Broken pictures, and links
    that lead out of `root` or to folders, are left out and counted in one warning. Names that start with a
    dot are passed over.

    Args:
        root: jpg, jpeg, png, webp, bmp and gif (first frame) lie in ROOT/CLASS/ or deeper.
        size: height and width in pixels: the shorter side becomes as long, of the longer one the middle is
            kept. None leaves every picture its own.
        strict: a broken picture is an error.

    Raises:
        ValueError: no such folder, another layout, a class without pictures; names the path. When `strict`,
            or when none is whole, broken pictures.
    """
    root = Path(root).expanduser()
    if size is not None and size < 1:
        raise ValueError(f"size is {size}: a positive number of pixels is wanted")
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise ValueError(f"{str(root)!r} {what}: {LAYOUT}")
    found, links = _listed(root)
    found, loose = _of_classes(root, found)
    left_out = {"links to folders or out of it": links, "in no class folder": loose}
    paths = tuple(whole(found, root, strict=strict, left_out=left_out))
    names = tuple(text(path.relative_to(root).as_posix()) for path in paths)
    classes, labels = np.unique([name.partition("/")[0] for name in names], return_inverse=True)
    return Pictures(labels.astype(np.int64), tuple(classes.tolist()), names, Files(paths, size))


def _listed(root: Path) -> tuple[list[Path], int]:
    """The picture files below `root`, sorted, and how many links are left out."""
    inside = root.resolve()
    pictures = []
    links = 0
    for folder, subfolders, files in os.walk(root, onerror=_unreadable):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        links += sum(Path(folder, name).is_symlink() for name in subfolders)
        for path in (Path(folder, name) for name in files if is_picture(name)):
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                links += 1
            else:
                pictures.append(path)
    return sorted(pictures, key=lambda path: path.relative_to(root).parts), links


def _of_classes(root: Path, pictures: list[Path]) -> tuple[list[Path], int]:
    """The pictures that lie in class folders, and how many do not.

    Raises:
        ValueError: no class folders, or one without pictures.
    """
    folders = [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]
    classes = sorted(path.name for path in folders if not path.name.startswith("."))
    kept = [path for path in pictures if path.parent != root]
    loose = len(pictures) - len(kept)
    if not classes:
        what = f"{loose} pictures directly in it, no class folders" if loose else "no class folders"
        raise ValueError(f"{str(root)!r} has {what}: {LAYOUT}")
    filled = {path.relative_to(root).parts[0] for path in kept}
    if empty := [name for name in classes if name not in filled]:
        others = f" and {len(empty) - 1} more have" if len(empty) > 1 else " has"
        raise ValueError(
            f"class folder {str(root / empty[0])!r}{others} no pictures that can be used "
            f"({', '.join(sorted(SUFFIXES))}): put some in or remove it"
        )
    return kept, loose


def _unreadable(error: OSError) -> None:
    raise ValueError(f"{error.filename!r} cannot be read: {error.strerror}") from error
