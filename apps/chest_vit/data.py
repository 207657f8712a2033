"""Images for retrieval: a published benchmark, your own in folders or a table, or a packaged set; to train, to test."""

from functools import cached_property
from typing import Any, Literal, NamedTuple

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode, v2

from apps.chest_vit import class_csv
from apps.chest_vit.class_tree import FOLDERS, HAVE_ONE, WORDS, Above, in_words
from apps.chest_vit.class_tree import OWN as OWN_TREE
from apps.chest_vit.class_tree import load as load_tree
from apps.datasets.labelled_images import Box, LabelledImages, join, resized_part
from apps.datasets.registry import (
    BENCHMARKS,
    OWN,
    PACKAGED,
    check_image_name,
    describe,
    guess_images,
    load_images,
    title_of,
)
from apps.datasets.split import Split
from apps.training.loading import OwnRows, TrainingLoader, place, stretch, with_workers
from apps.training.sampling import ClassBalanced, Draw


class ImageBatch(NamedTuple):
    """Images as uint8 (B, 3, S, S), their class indices (B,), and their rows in the data (B,)."""

    images: Tensor
    labels: Tensor
    rows: Tensor


Item = tuple[Tensor, int, int]  # an image, its class index, its row


class RetrievalData(L.LightningDataModule):
    """A published benchmark or a table in its own split, or a folder or a packaged set, half of which trains.

    Args:
        root: Folder of a benchmark, or with one sub-folder of images a class; or a CSV or TSV file with columns path,
            label and split (train, validation or test). Without it a packaged set, fetched and rendered on first use.
        benchmark: Which of them the root holds: {benchmarks}, "folder" or "table"; guessed from its files when it is
            not given. Without a root: {packaged}; the first is the default. Or the path of a class of your own, in a
            package that the variable GEOMDML_LOSSES names (docs/guides/chest.md).
        hierarchy: A tree above the classes, which is scored beside them and which losses can use: "folders", where
            class folders lie in category folders, at any depth; "own", of a benchmark or packaged set ({hierarchies});
            or a CSV or TSV file with columns class and parent, a row a class or category. A checkpoint takes it along.
        split: Divide a folder or a packaged set by "classes" (test classes are unseen) or by "images" of every class.
        size: Side of the training and test images, in pixels.
        render: Side at which a packaged set is rendered before cropping, in pixels.
        validation: Share of the training classes (by images: images) kept out for validation, in which settings are
            chosen; 0 keeps none, and the last checkpoint is tested. Left out, it is a tenth, or the validation images
            that a table names.
        split_seed: Seed of the shuffle of classes, sorted by name, whose first half trains, and of what is kept out.
        classes_per_batch: Classes in a training batch.
        per_class: Images of each of these classes.
        steps: Training steps an epoch.
        queue: Embeddings of earlier batches, the latest, that losses of pairs compare a batch with beside itself; the
            same in all processes, and part of a checkpoint. 0 is none.
        eval_batch: Images in a batch of validation and test.
        crop_scale: Smallest share of the area that a random training crop keeps.
        flip: Mirror training images at random. Not for classes that differ by left and right.
        rotate: Largest random rotation of a training image, in degrees.
        jitter: Strength of random changes in brightness, contrast and saturation.
        ks: The k of Recall@k.
        centre_crop: Share of the shorter side that a test image keeps (the paper: 224/256 = 0.875); 1 keeps it whole.
        strict: Make a broken image, or a class folder without images, an error instead of leaving it out.
        workers: Processes that prepare images; 0 prepares them in the training process.
        seed: Seed of batches and augmentation.
    """

    def __init__(
        self,
        root: str | None = None,
        benchmark: str | None = None,
        hierarchy: str | dict[str, str] | None = None,
        split: Literal["classes", "images"] = "classes",
        size: int = 64,
        render: int = 128,
        validation: float | None = None,
        split_seed: int = 0,
        classes_per_batch: int = 16,
        per_class: int = 4,
        steps: int = 100,
        queue: int = 0,
        eval_batch: int = 128,
        ks: tuple[int, ...] = (1, 2, 4, 8),
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
        if benchmark is not None:
            check_image_name(benchmark)
        self.edges_file = None if hierarchy in (None, *WORDS) or isinstance(hierarchy, dict) else hierarchy
        if self.edges_file is not None:
            self.hparams["hierarchy"] = class_csv.read(self.edges_file)  # so that a checkpoint needs no file
        for name, value, low, high in (
            ("size", size, 8, 4096),
            ("render", render, 8, 4096),
            ("validation", 0.0 if validation is None else validation, 0, 0.5),
            ("crop_scale", crop_scale, 0.01, 1),
            ("centre_crop", centre_crop, 0.1, 1),
            ("queue", queue, 0, 2**24),
            ("eval_batch", eval_batch, 1, 2**20),
            ("workers", workers, 0, 256),
        ):
            if not low <= value <= high:
                raise ValueError(f"--data.{name} = {value}; expected {low} to {high}")
        self.augment = Augmentation(size, crop_scale, flip=flip, rotate=rotate, jitter=jitter)
        self.whole = v2.Compose([v2.Resize(round(size / centre_crop), InterpolationMode.BICUBIC), v2.CenterCrop(size)])

    @cached_property
    def benchmark(self) -> str:
        h = self.hparams
        return h["benchmark"] or guess_images(h["root"])

    @cached_property
    def split(self) -> Split:
        """Training, validation, query and gallery images."""
        h = self.hparams
        return load_images(
            h["root"],
            self.benchmark,
            by=h["split"],
            validation=h["validation"],
            seed=h["split_seed"],
            strict=h["strict"],
            render=h["render"],
            nested=h["hierarchy"] == FOLDERS,
        )

    @cached_property
    def class_tree(self) -> Above | None:
        """What lies above each class, those of training first and in the order of their labels; None without a tree."""
        h = self.hparams
        if h["hierarchy"] is None:
            return None
        of_data = {"benchmark": self.benchmark, "root": h["root"], "file": self.edges_file}
        return load_tree(h["hierarchy"], self.everything.classes, **of_data)

    @property
    def validates(self) -> bool:
        """Whether images are kept out of training to choose the best checkpoint by."""
        return self.split.validation is not None

    @property
    def num_classes(self) -> int:
        return len(self.train.classes)

    @property
    def train(self) -> LabelledImages:
        return self.split.train

    @cached_property
    def test(self) -> LabelledImages:
        return self.split.test

    @cached_property
    def everything(self) -> LabelledImages:
        """All images: those of training, of validation and of the test."""
        parts = (self.train, self.split.validation, self.test)
        return join(*(part for part in parts if part is not None))

    def facts(self) -> dict[str, str]:
        """What a table of scores must say of its data."""
        counts = self.split.counts()
        unseen = not set(self.train.classes) & set(self.test.classes)
        queries = self.split.queries
        tree = self.class_tree
        return {
            "data": str(self.hparams["root"]) if self.benchmark in OWN else title_of(self.benchmark),
            "classes": ", ".join(f"{name} {part.classes:,}" for name, part in counts.items())
            + f" ({self.split.by}; test classes are {'unseen' if unseen else 'those of training'})",
            "images": ", ".join(f"{name} {part.images:,}" for name, part in counts.items())
            + f", {self.hparams['size']} px",
            **(
                {}
                if tree is None
                else {"hierarchy": in_words(tree, self.benchmark if self.hparams["hierarchy"] == OWN_TREE else "")}
            ),
            "protocol": "leave-one-out over the test images" if queries is None else "each query in the gallery",
        }

    def train_dataloader(self) -> DataLoader:
        h = self.hparams
        batches = ClassBalanced(
            self.train.labels,
            classes=h["classes_per_batch"],
            per_class=h["per_class"],
            steps=h["steps"],
            seed=h["seed"],
        )
        data = Augmented(self.train, self.augment)
        return TrainingLoader(data, batches, trainer=self.trainer, workers=h["workers"])

    def whole_train_dataloader(self) -> DataLoader:
        """The training images once, in order and without augmentation: where the proxies start."""
        return self.in_order(self.train)

    def whole_test_dataloader(self) -> DataLoader:
        """All test images in order, also where several processes share the test."""
        return self.in_order(self.test)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        return [] if self.split.validation is None else self._shared(self.split.validation)

    def test_dataloader(self) -> DataLoader:
        return self._shared(self.test)

    def predict_dataloader(self) -> DataLoader:
        return self.in_order(self.everything.of_rows(stretch(len(self.everything), *place(self.trainer))))

    def _shared(self, images: LabelledImages) -> DataLoader:
        """Those images that this process evaluates; all of them where it is the only one."""
        rank, ranks = place(self.trainer)
        return self.in_order(images, sampler=OwnRows(len(images), rank, ranks))

    def in_order(self, images: LabelledImages, **kwargs: Any) -> DataLoader:
        """Images once, in order and without augmentation."""
        data, h = Whole(images, self.whole), self.hparams
        return DataLoader(
            data, batch_size=h["eval_batch"], collate_fn=stack, **kwargs, **with_workers(h["workers"], self.trainer)
        )


RetrievalData.__doc__ = (RetrievalData.__doc__ or "").format(
    benchmarks=describe(BENCHMARKS), packaged=describe(PACKAGED), hierarchies=", ".join(HAVE_ONE)
)


class Augmentation:
    """Random parts of images, mirrored and in other colours; of a file, no more is decoded than its part shows."""

    def __init__(self, size: int, crop_scale: float, *, flip: bool, rotate: float, jitter: float) -> None:
        self.size = size
        self.rotate = v2.RandomRotation(rotate, InterpolationMode.BILINEAR, fill=255) if rotate else None
        self.crop = v2.RandomResizedCrop(size, (crop_scale, 1.0))
        self.after = v2.Compose(
            [
                v2.RandomHorizontalFlip() if flip else v2.Identity(),
                v2.ColorJitter(jitter, jitter, jitter) if jitter else v2.Identity(),
            ]
        )

    def __call__(self, images: LabelledImages, row: int) -> Tensor:
        """Image `row`, by torch's random numbers."""
        if self.rotate is None:
            return self.after(images.part(row, self._choose, self.size))
        return self.after(resized_part(self.rotate(images.image(row)), self._choose, self.size))

    def _choose(self, height: int, width: int) -> Box:
        form = torch.empty((), dtype=torch.uint8).expand(3, height, width)
        box = self.crop.make_params([form])
        return box["top"], box["left"], box["height"], box["width"]


class Augmented(Dataset):
    """Batches of augmented images, each under the seed of its draw."""

    def __init__(self, images: LabelledImages, augment: Augmentation) -> None:
        self.images, self.augment = images, augment

    def __getitem__(self, draws: list[Draw]) -> ImageBatch:
        return stack([self._image(draw) for draw in draws])

    def _image(self, draw: Draw) -> Item:
        row = draw.image
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(draw.seed)
            return self.augment(self.images, row), int(self.images.labels[row]), row


class Whole(Dataset):
    """Images as they are tested."""

    def __init__(self, images: LabelledImages, whole: v2.Transform) -> None:
        self.images, self.whole = images, whole

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Item:
        return self.whole(self.images.image(row)), int(self.images.labels[row]), row


def stack(items: list[Item]) -> ImageBatch:
    images, labels, rows = zip(*items, strict=True)
    return ImageBatch(torch.stack(images), torch.tensor(labels), torch.tensor(rows))
