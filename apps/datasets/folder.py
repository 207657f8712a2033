"""Your own images: a folder with a folder of images for each class."""

from pathlib import Path

from apps.datasets import class_folders, nested_folders
from apps.datasets.files import SUFFIXES, Files, text, whole
from apps.datasets.labelled_images import LabelledImages
from apps.io.labels import index_classes


def load(root: str | Path, *, size: int | None = None, strict: bool = False, nested: bool = False) -> LabelledImages:
    """The images below `root`; the folders directly in it are the classes, sorted, as are their images.

    Every file is decoded once to check it, and again whenever it is asked for. Broken images, class folders
    without images, links that lead out of `root` or to folders, and files of other kinds are left out and
    counted in one warning.

    Args:
        root: jpg, jpeg, png, webp, bmp, gif and tif (first frames) lie in ROOT/CLASS/ or deeper.
        size: height and width in pixels: the shorter side becomes as long, of the longer one the middle is
            kept. None leaves every image its own.
        strict: a broken image, or a class folder without images, is an error.
        nested: the folder that an image lies in is its class, named by its path from `root`, such as "birds/robin".

    Raises:
        ValueError: no such folder, another layout; names the path. When `strict`, a class without images. When
            `strict`, or when none is whole, broken images.
    """
    root = Path(root).expanduser()
    if size is not None and size < 1:
        raise ValueError(f"size is {size}; expected a positive number of pixels")
    found, left_out = (
        nested_folders.find(root, SUFFIXES, what="images", strict=strict)
        if nested
        else class_folders.find(root, SUFFIXES, what="images", example="ROOT/robin/1.jpg", strict=strict)
    )
    paths = tuple(whole(found, root, strict=strict, left_out=left_out))
    names = tuple(text(path.relative_to(root).as_posix()) for path in paths)
    labels, classes = index_classes(name.rpartition("/")[0] if nested else name.partition("/")[0] for name in names)
    return LabelledImages(labels, classes, names, Files(paths, size), root)
