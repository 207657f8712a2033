"""Fashion-MNIST: 60,000 and 10,000 images of clothes, 28 × 28, from Debian's package or a folder of IDX files."""

from pathlib import Path

from apps.datasets import idx
from apps.datasets.image_arrays import ImageSplit
from apps.io.packages import debian_package

NAME = "Fashion-MNIST"
PACKAGE = (
    "dataset-fashion-mnist",
    "0.0~git20200523.55506a9-1",
    "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
)
CLASSES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def load(root: str | Path | None = None) -> ImageSplit:
    """Fashion-MNIST (Xiao, Rasul, Vollgraf 2017) from a folder, else from Debian; see `idx.load`."""
    return idx.load(
        root,
        lambda: debian_package(*PACKAGE) / "usr/share/datasets/fashion-mnist",
        name=NAME,
        classes=CLASSES,
        mean=0.2860,
        std=0.3530,
    )
