"""Pictures for retrieval: training, validation and test classes, none in two of them."""

from functools import cached_property
from typing import NamedTuple

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode, v2

from apps.common.sampling import ClassBalanced, Draw
from apps.datasets import emoji, folder
from apps.datasets.pictures import Pictures


class Batch(NamedTuple):
    """Pictures as uint8 (B, 3, S, S), and their class indices (B,)."""

    pictures: Tensor
    labels: Tensor


class RetrievalData(L.LightningDataModule):
    """Class-per-folder pictures, or the packaged emoji, split by class: half trains, half tests.

    Args:
        root: Folder with one sub-folder of pictures a class. Without it: the packaged emoji (1,185 classes drawn by 8
            vendors), fetched and rendered on first use.
        size: Side of the training and test pictures, in pixels.
        render: Side at which emoji are rendered before cropping, in pixels.
        validation: Share of the training classes kept out for validation, in which settings are chosen.
        split_seed: Seed of the shuffle of classes, sorted by name, whose first half trains.
        classes_per_batch: Classes in a training batch.
        per_class: Pictures of each of these classes.
        steps: Training steps an epoch.
        eval_batch: Pictures in a batch of validation and test.
        crop_scale: Smallest share of the area that a random training crop keeps.
        flip: Mirror training pictures at random. Not for classes that differ by left and right.
        rotate: Largest random rotation of a training picture, in degrees.
        jitter: Strength of random changes in brightness, contrast and saturation.
        centre_crop: Share of the shorter side that a test picture keeps (the paper: 224/256 = 0.875); 1 keeps it whole.
        strict: Make a broken picture fatal instead of leaving it out.
        workers: Processes that prepare pictures; 0 prepares them in the training process.
        seed: Seed of batches and augmentation.
    """

    def __init__(
        self,
        root: str | None = None,
        size: int = 64,
        render: int = 128,
        validation: float = 0.1,
        split_seed: int = 0,
        classes_per_batch: int = 16,
        per_class: int = 4,
        steps: int = 100,
        eval_batch: int = 128,
        crop_scale: float = 0.5,
        flip: bool = True,
        rotate: float = 0.0,
        jitter: float = 0.2,
        centre_crop: float = 1.0,
        strict: bool = False,
        workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        for name, value, low, high in (
            ("size", size, 8, 4096),
            ("render", render, 8, 4096),
            ("validation", validation, 0.01, 0.5),
            ("crop_scale", crop_scale, 0.01, 1),
            ("centre_crop", centre_crop, 0.1, 1),
            ("workers", workers, 0, 256),
        ):
            if not low <= value <= high:
                raise ValueError(f"--data.{name} = {value}; want {low} to {high}")
        self.augment = v2.Compose(
            [
                v2.RandomRotation(rotate, InterpolationMode.BILINEAR, fill=255) if rotate else v2.Identity(),
                v2.RandomResizedCrop(size, (crop_scale, 1.0), interpolation=InterpolationMode.BICUBIC),
                v2.RandomHorizontalFlip() if flip else v2.Identity(),
                v2.ColorJitter(jitter, jitter, jitter) if jitter else v2.Identity(),
            ]
        )
        self.whole = v2.Compose([v2.Resize(round(size / centre_crop), InterpolationMode.BICUBIC), v2.CenterCrop(size)])

    @cached_property
    def pictures(self) -> Pictures:
        root = self.hparams["root"]
        return emoji.load(self.hparams["render"]) if root is None else folder.load(root, strict=self.hparams["strict"])

    @cached_property
    def splits(self) -> dict[str, list[int]]:
        """Class indices of the training, validation and test split."""
        return split_classes(len(self.pictures.classes), self.hparams["validation"], self.hparams["split_seed"])

    @cached_property
    def num_classes(self) -> int:
        return len(self.splits["train"])

    @cached_property
    def train(self) -> Pictures:
        return self.pictures.of_classes(self.splits["train"])

    @cached_property
    def validation(self) -> Pictures:
        return self.pictures.of_classes(self.splits["validation"])

    @cached_property
    def test(self) -> Pictures:
        return self.pictures.of_classes(self.splits["test"])

    def facts(self) -> dict[str, str]:
        """What a table of scores must say of its data."""
        counts = ", ".join(f"{name} {len(part):,}" for name, part in self.splits.items())
        root = self.hparams["root"]
        return {
            "data": "packaged emoji" if root is None else str(root),
            "classes": f"{counts} (by class, seed {self.hparams['split_seed']}; test classes are unseen)",
            "pictures": f"train {len(self.train):,}, test {len(self.test):,}, {self.hparams['size']} px",
            "protocol": "leave-one-out over the test classes",
        }

    def train_dataloader(self) -> DataLoader:
        h = self.hparams
        sampler = ClassBalanced(
            self.train.labels,
            classes=h["classes_per_batch"],
            per_class=h["per_class"],
            steps=h["steps"],
            seed=h["seed"],
        )
        return self._loader(Augmented(self.train, self.augment), sampler=sampler, batch_size=None)

    def whole_train_dataloader(self) -> DataLoader:
        """The training pictures once, in order and without augmentation: where the proxies start."""
        return self._evaluation(self.train)

    def val_dataloader(self) -> DataLoader:
        return self._evaluation(self.validation)

    def test_dataloader(self) -> DataLoader:
        return self._evaluation(self.test)

    def predict_dataloader(self) -> DataLoader:
        return self._evaluation(self.pictures)

    def _evaluation(self, pictures: Pictures) -> DataLoader:
        return self._loader(Whole(pictures, self.whole), batch_size=self.hparams["eval_batch"], collate_fn=stack)

    def _loader(self, dataset: Dataset, **kwargs) -> DataLoader:
        workers = self.hparams["workers"]
        return DataLoader(dataset, num_workers=workers, persistent_workers=workers > 0, **kwargs)


class Augmented(Dataset):
    """Batches of augmented pictures, each under the seed of its draw."""

    def __init__(self, pictures: Pictures, augment: v2.Transform) -> None:
        self.pictures, self.augment = pictures, augment

    def __getitem__(self, draws: list[Draw]) -> Batch:
        return stack([self._picture(draw) for draw in draws])

    def _picture(self, draw: Draw) -> tuple[Tensor, int]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(draw.seed)
            return self.augment(self.pictures.picture(draw.picture)), int(self.pictures.labels[draw.picture])


class Whole(Dataset):
    """Pictures as they are tested."""

    def __init__(self, pictures: Pictures, whole: v2.Transform) -> None:
        self.pictures, self.whole = pictures, whole

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.whole(self.pictures.picture(index)), int(self.pictures.labels[index])


def stack(items: list[tuple[Tensor, int]]) -> Batch:
    pictures, labels = zip(*items, strict=True)
    return Batch(torch.stack(pictures), torch.tensor(labels))


def split_classes(count: int, validation: float, seed: int) -> dict[str, list[int]]:
    """Shuffle the classes with a seed: the first half trains, its last `validation` share is kept out, the rest tests.

    Raises:
        ValueError: too few classes for two of them in each split.

    >>> {name: len(part) for name, part in split_classes(100, 0.1, 0).items()}
    {'train': 45, 'validation': 5, 'test': 50}
    """
    order = np.random.default_rng(seed).permutation(count)
    half = count // 2
    kept_out = max(2, round(half * validation))
    parts = {"train": order[: half - kept_out], "validation": order[half - kept_out : half], "test": order[half:]}
    short = [name for name, part in parts.items() if len(part) < 2]
    if short:
        raise ValueError(
            f"{count} classes leave fewer than 2 for {' and '.join(short)} at --data.validation {validation:g}; "
            "want at least 8 class folders, and a smaller share of them for validation"
        )
    return {name: sorted(part.tolist()) for name, part in parts.items()}
