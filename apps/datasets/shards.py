"""Your own images, many to a file: tar files as WebDataset writes them, or Parquet files that hold images."""

from pathlib import Path

import numpy as np

from apps.datasets import image_list, left_out
from apps.datasets.files import SHOWN
from apps.datasets.labelled_images import LabelledImages
from apps.datasets.shard_files import shard_files

EXPECTED = (
    "expected tar files (KEY.jpg beside KEY.cls, or CLASS/KEY.jpg), or Parquet files with columns image and label"
)


def is_at(path: Path) -> bool:
    """Whether a path is such a file, or a folder that has nothing but such files, and hidden ones."""
    return bool(shard_files(path))


def load(root: str | Path, *, strict: bool = False) -> LabelledImages:
    """The images of all files, in the order of these. They stay in their files, and are read one at a time.

    Every image is decoded once to check it; those that cannot be are left out and counted in a warning.

    Args:
        strict: an image that cannot be decoded is an error.

    Raises:
        ValueError: no such files, one that cannot be read, an image without a class.
    """
    root = Path(root).expanduser()
    if not is_at(root):
        raise ValueError(f"{str(root)!r} has no shards of images; {EXPECTED}")
    images, failed = image_list.load(root, strict=strict)
    reasons = "; ".join([reason for _, reason in failed[:SHOWN]] + ["..."] * (len(failed) > SHOWN))
    left_out.warn(root, "images", {f"broken ({reasons})": len(failed)})
    if "" in images.classes:
        name = images.names[int(np.argmax(images.labels == images.classes.index("")))]
        raise ValueError(f"{name!r} in {str(root)!r} has no class; {EXPECTED}")
    return images
