"""Your own images, many to a file: tar files as WebDataset writes them, or Parquet files that hold images."""

from pathlib import Path

from apps.datasets import image_list, left_out
from apps.datasets.files import SHOWN
from apps.datasets.labelled_images import LabelledImages, join

SUFFIXES = (".tar", ".parquet")
EXPECTED = (
    "expected tar files (KEY.jpg beside KEY.cls, or CLASS/KEY.jpg), or Parquet files with columns image and label"
)


def is_at(path: Path) -> bool:
    """Whether a path is such a file, or a folder that has nothing but such files, and hidden ones."""
    return bool(files(path))


def files(path: Path) -> list[Path]:
    """The files at a path, sorted by their names; none where it is something else."""
    within = path.iterdir() if path.is_dir() else [path]
    found = sorted(each for each in within if not each.name.startswith("."))
    fitting = all(each.suffix.lower() in SUFFIXES and each.is_file() for each in found)
    return found if fitting else []


def load(root: str | Path, *, strict: bool = False) -> LabelledImages:
    """The images of all files, in the order of these. They stay in their files, and are read one at a time.

    Every image is decoded once to check it; those that cannot be are left out and counted in a warning.

    Args:
        strict: an image that cannot be decoded is an error.

    Raises:
        ValueError: no such files, one that cannot be read, an image without a class.
    """
    root = Path(root).expanduser()
    found = files(root)
    if not found:
        raise ValueError(f"{str(root)!r} has no shards of images; {EXPECTED}")
    parts = []
    for path in found:
        images, failed = image_list.load(path, strict=strict)
        reasons = "; ".join([reason for _, reason in failed[:SHOWN]] + ["..."] * (len(failed) > SHOWN))
        left_out.warn(path, "images", {f"broken ({reasons})": len(failed)})
        if "" in images.classes:
            name = images.names[images.labels.tolist().index(images.classes.index(""))]
            raise ValueError(f"{name!r} in {str(path)!r} has no class; {EXPECTED}")
        parts.append(images)
    return join(*parts)
