"""IDX, the file format of MNIST and its successors: a header of big-endian sizes, then the values."""

import gzip
import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray

from apps.datasets.image_arrays import ImageArrays, ImageSplit

MOST_BYTES = 2**28  # MNIST's largest file has 47 MB
UINT8 = 8


def read(path: Path, dimensions: int) -> ndarray:
    """The uint8 array of an IDX file, plain or (by its name) gzip.

    Raises:
        ValueError: no IDX file of so many dimensions of uint8, truncated, too long or damaged; names the path.
        OSError: it cannot be read.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is no whole gzip file: {error}") from error
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes([0, 0, UINT8, dimensions]):
        raise ValueError(
            f"{path} is no IDX file of unsigned bytes in {dimensions} dimensions: it starts with {content[:4]!r}"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) > MOST_BYTES or len(content) - header != math.prod(shape):
        size = f"more than {MOST_BYTES}" if len(content) > MOST_BYTES else str(len(content) - header)
        raise ValueError(f"{path} says that it has {' × '.join(map(str, shape))} values, and has {size}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def load(
    root: str | Path | None,
    packaged: Callable[[], Path],
    *,
    name: str,
    classes: tuple[str, ...],
    mean: float,
    std: float,
) -> ImageSplit:
    """The grey images of a folder with the usual four IDX files, plain or .gz; without one, of the packaged folder.

    Raises:
        ValueError: the folder lacks a file, or one is damaged.
        FetchError: the package cannot be had.
    """
    folder = packaged() if root is None else Path(root)
    train, test = (read_pair(folder, part) for part in ("train", "t10k"))
    return ImageSplit(name, train, test, classes, (mean,), (std,))


def read_pair(root: Path, part: str) -> ImageArrays:
    """The images and labels of one part, "train" or "t10k", in a folder of the usual four files, plain or .gz.

    Raises:
        ValueError: a file is missing (the path and the layout are named), wrong, or does not fit the other.
    """
    pixels = read(_file(root, f"{part}-images-idx3-ubyte"), 3)
    labels = read(_file(root, f"{part}-labels-idx1-ubyte"), 1)
    if len(pixels) != len(labels) or not len(labels):
        raise ValueError(
            f"{root} has {len(pixels)} images and {len(labels)} labels of {part!r}; expected as many, and some"
        )
    return ImageArrays(torch.from_numpy(pixels[:, None].copy()), torch.from_numpy(labels.astype(np.int64)))


def _file(root: Path, name: str) -> Path:
    for path in (root / name, root / f"{name}.gz"):
        if path.is_file():
            return path
    raise ValueError(
        f"{root / name} is missing, with and without .gz; --data.root expects a folder with "
        "{train,t10k}-images-idx3-ubyte and {train,t10k}-labels-idx1-ubyte"
    )
