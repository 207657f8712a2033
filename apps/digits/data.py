"""Small images in memory, for metric learning: batches are draws of indices into tensors of uint8."""

from functools import cached_property
from typing import NamedTuple

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from apps.datasets.image_arrays import ImageArrays, ImageSplit, hold_out
from apps.datasets.registry import ARRAYS, ArrayName, describe, load_arrays
from apps.training.loading import TrainingLoader
from apps.training.options import check_at_least
from apps.training.sampling import Shuffled


class DigitBatch(NamedTuple):
    """Images as uint8 (B, C, H, W), and their class indices (B,)."""

    images: Tensor
    labels: Tensor


class DigitsData(L.LightningDataModule):
    """Small images in memory, tested on their authors' test part; validation is split off training.

    Args:
        name: {arrays}. The first two come as packages, CIFAR10 needs a root.
        root: Folder with the data set's usual files (IDX, plain or .gz; CIFAR10's Python batches or tar.gz).
        validation: Training images kept out for validation, the same share of every class.
        split_seed: Seed of that split.
        limit: Use only so many training images, and a sixth as many test images; 0 uses all.
        batch_size: Images a step, both batches together where the model takes two; the paper has 64 + 64.
        eval_batch: Images in a batch of validation and test.
        seed: Seed of the batches.
    """

    def __init__(
        self,
        name: ArrayName = "mnist",
        root: str | None = None,
        validation: int = 5000,
        split_seed: int = 0,
        limit: int = 0,
        batch_size: int = 128,
        eval_batch: int = 1000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_at_least(2, batch_size=batch_size, eval_batch=eval_batch, validation=validation)
        if limit < 0:
            raise ValueError(f"--data.limit = {limit}; expected 0, for all images, or a number of them")

    @cached_property
    def benchmark(self) -> ImageSplit:
        return load_arrays(self.hparams["name"], self.hparams["root"])

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width of an image."""
        return tuple(self.benchmark.train.pixels.shape[1:])

    @property
    def mean(self) -> tuple[float, ...]:
        return self.benchmark.mean

    @property
    def std(self) -> tuple[float, ...]:
        return self.benchmark.std

    @cached_property
    def parts(self) -> dict[str, ImageArrays]:
        """The images that train, validate and test."""
        h, whole = self.hparams, self.benchmark
        seen = _limited(whole.train, h["limit"], h["split_seed"])
        kept, held_out = hold_out(seen.labels, h["validation"], h["split_seed"])
        test = _limited(whole.test, h["limit"] // 6, h["split_seed"])
        return {"train": seen.of(kept), "validation": seen.of(held_out), "test": test}

    def facts(self) -> dict[str, str]:
        """What a table of scores must say of its data."""
        h = self.hparams
        return {
            "data": self.benchmark.name + (", a part of it" if h["limit"] else ""),
            "images": ", ".join(f"{name} {len(images):,}" for name, images in self.parts.items())
            + f" (validation stratified, seed {h['split_seed']})",
            "protocol": "leave-one-out over the test images; classifiers learn on training embeddings",
        }

    def batches(self, seed: int) -> Shuffled:
        """The index draws of training, a function of (seed, epoch, step)."""
        return Shuffled(len(self.parts["train"]), size=self.hparams["batch_size"], seed=seed)

    def train_dataloader(self) -> DataLoader:
        batches = self.batches(self.hparams["seed"])
        return TrainingLoader(Drawn(self.parts["train"]), batches, trainer=self.trainer)

    def whole_train_dataloader(self) -> DataLoader:
        """The training images once, in order: what classifiers learn on."""
        return self._evaluation("train")

    def val_dataloader(self) -> DataLoader:
        return self._evaluation("validation")

    def test_dataloader(self) -> DataLoader:
        return self._evaluation("test")

    def predict_dataloader(self) -> DataLoader:
        return self._evaluation("test")

    def _evaluation(self, part: str) -> DataLoader:
        rows = InOrder(len(self.parts[part]), self.hparams["eval_batch"])
        return DataLoader(Drawn(self.parts[part]), sampler=rows, batch_size=None)


DigitsData.__doc__ = (DigitsData.__doc__ or "").format(arrays=describe(ARRAYS))


class Drawn(Dataset):
    """Batches of images by index tensors; drawing them from memory is faster than a worker's pipe."""

    def __init__(self, images: ImageArrays) -> None:
        self.images = images

    def __getitem__(self, rows: Tensor) -> DigitBatch:
        drawn = self.images.of(rows)
        return DigitBatch(drawn.pixels, drawn.labels)


class InOrder(Sampler[Tensor]):
    """All rows in order, in index tensors of at most `size`."""

    def __init__(self, count: int, size: int) -> None:
        self.parts = torch.arange(count).split(size)

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self):
        return iter(self.parts)


def _limited(images: ImageArrays, limit: int, seed: int) -> ImageArrays:
    if not limit or limit >= len(images):
        return images
    return images.of(hold_out(images.labels, limit, seed)[1])
