"""Small images that fit into memory: tensors of uint8, a training and a test part as their authors split them."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ImageArrays:
    """Labelled images of one size, in memory.

    Args:
        pixels: (N, C, H, W), 0 to 255.
        labels: (N,) class indices.

    Raises:
        ValueError, TypeError: tensors that do not fit together.

    >>> images = ImageArrays(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 0]))
    >>> len(images), images.of(torch.tensor([2, 1])).labels
    (3, tensor([0, 1]))
    """

    pixels: UInt8[Tensor, "N C H W"]
    labels: Int64[Tensor, " N"]

    def __post_init__(self) -> None:
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 4:
            raise TypeError(
                f"pixels are {self.pixels.dtype} of {tuple(self.pixels.shape)}; expected torch.uint8 (N, C, H, W)"
            )
        if self.labels.dtype != torch.int64 or self.labels.ndim != 1 or len(self.labels) != len(self.pixels):
            raise ValueError(
                f"labels are {self.labels.dtype} of {tuple(self.labels.shape)} for {len(self.pixels)} images; "
                "expected torch.int64 (N,), one for each image"
            )

    def __len__(self) -> int:
        return len(self.pixels)

    def of(self, rows: Int64[Tensor, " n"]) -> "ImageArrays":
        """The images of some rows, in their order."""
        return ImageArrays(self.pixels[rows], self.labels[rows])


@dataclass(frozen=True, eq=False)
class ImageSplit:
    """A data set with its authors' split; mean and standard deviation of each channel of `train`, 0 to 1."""

    name: str
    train: ImageArrays
    test: ImageArrays
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        for images in (self.train, self.test):
            outside = images.labels[(images.labels < 0) | (images.labels >= len(self.classes))]
            if len(outside):
                raise ValueError(f"{self.name}: label {int(outside[0])} has no class; there are {len(self.classes)}")


def hold_out(labels: Int64[Tensor, " N"], held_out: int, seed: int) -> tuple[Int64[Tensor, " K"], Int64[Tensor, " H"]]:
    """Rows that stay and rows held out, both in order; every class gives its share of these, drawn with the seed.

    Shares are rounded so that they add up to `held_out` (largest remainders first).

    Raises:
        ValueError: fewer than 0 or not fewer than all rows are to be held out.

    >>> kept, held = hold_out(torch.tensor([0, 0, 0, 0, 1, 1]), 3, seed=0)
    >>> len(kept), torch.tensor([0, 0, 0, 0, 1, 1])[held].tolist()
    (3, [0, 0, 1])
    """
    if not 0 <= held_out < len(labels):
        raise ValueError(f"{held_out} of {len(labels)} images cannot be held out: expected 0 to {len(labels) - 1}")
    classes, counts = np.unique(labels.numpy(), return_counts=True)
    share = held_out * counts / len(labels)
    quota = np.floor(share).astype(int)
    quota[np.argsort(quota - share, kind="stable")[: held_out - quota.sum()]] += 1
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    for label, number in zip(classes, quota, strict=True):
        held[rng.permutation(np.flatnonzero(labels.numpy() == label))[:number]] = True
    return torch.from_numpy(np.flatnonzero(~held)), torch.from_numpy(np.flatnonzero(held))
