"""Shapes as images from around them, and batches of these views."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from apps.datasets.registry import load_shapes
from apps.shapes.cameras import RIGS, Cameras, ring
from apps.shapes.labelled_shapes import mark_test
from apps.shapes.meshes import Up
from apps.shapes.rendering import Look, Pose, Shading
from apps.shapes.views import Rendered, render_cached
from apps.training.loading import TrainingLoader
from apps.training.options import check_at_least, check_share
from apps.training.sampling import Shuffled, seed_of


def look(
    cameras: Cameras = "ring",
    views: int = 12,
    size: int = 128,
    shading: Shading | tuple[Shading, ...] = "lambert",
    colours: bool = False,
    pose: Pose = "given",
) -> Look:
    """How shapes are imaged; `views` are those on a "ring", of which the published set-ups have as many as they say."""
    rig = RIGS[cameras]
    directions = ring(views) if cameras == "ring" else rig.directions
    shadings = shading if isinstance(shading, str) else tuple(shading)
    return Look(directions, size, shadings, colours=colours, lens=rig.lens, distance=rig.distance, pose=pose)


OF_LOOK = ("cameras", "views", "size", "shading", "colours", "pose")


def in_words(look: Look) -> str:
    """The look of a table's shapes: how many images, of which size and kind.

    >>> in_words(look(shading=("phong", "depth"), colours=True))
    '24 of 128 px, phong and depth in colours'
    """
    return f"{look.views} of {look.size} px, {' and '.join(look.shadings)}{' in colours' if look.colours else ''}"


class ViewBatch(NamedTuple):
    """Shapes of the data set by their place, all their images, which of these are seen, and their class indices."""

    rows: Int64[Tensor, " B"]
    images: UInt8[Tensor, "B V C S S"]
    seen: Int64[Tensor, "B K"]
    labels: Int64[Tensor, " B"]


class ViewData(L.LightningDataModule):
    """Shapes as images from around them, rendered once and cached: the options of the apps that learn from these.

    Args:
        root: Folder of the data; without it packaged ones.
        up: The axis that points up in the files.
        test: Share for testing, stratified, where the data have no split of their own.
        split_seed: Seed of that split, and of the split into training and validation.
        validation: Share of what trains that is kept out, to choose the best epoch by; with 0 all of it trains.
        cameras: "ring" at 30° elevation, or the 20 corners of a "dodecahedron", both orthographic; or a published
            set-up with a lens: mvcnn, mvtn, view-gcn-12 (12 views, where it is known which way is up), mvcnn-20,
            view-gcn (20 views, where it is not), mvtn-spherical.
        views: Images on the ring.
        size: Side of an image in pixels.
        shading: lambert, phong, albedo, normals or depth; or a list of several, each from all cameras.
        colours: Whether lambert and phong show the colours and textures of the meshes; grey without.
        pose: "given", or turned to the "principal" axes of each surface, where nobody knows which way is up.
        strict: Make a broken file, or a class folder without files, an error instead of leaving it out.
        train_views: Views of a shape in a step, drawn at random.
        eval_batch: Samples in a batch of validation and test.
        seed: Seed of the batches and of all that is random in them.
    """

    def __init__(
        self,
        root: str | None = None,
        up: Up = "y",
        test: float = 0.3,
        split_seed: int = 0,
        validation: float = 0.0,
        cameras: Cameras = "ring",
        views: int = 12,
        size: int = 128,
        shading: Shading | tuple[Shading, ...] = "lambert",
        colours: bool = False,
        pose: Pose = "given",
        strict: bool = False,
        train_views: int = 4,
        eval_batch: int = 16,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_at_least(1, train_views=train_views, eval_batch=eval_batch)
        check_share(test=test, validation=validation)

    @cached_property
    def look(self) -> Look:
        h = self.hparams
        found = look(**{name: h[name] for name in OF_LOOK})
        if found.views < h["train_views"]:
            raise ValueError(
                f"--data.train_views = {h['train_views']} of {found.views} views; expected as many at most"
            )
        return found

    @property
    def validates(self) -> bool:
        return self.hparams["validation"] > 0

    def in_order(self, part: str) -> Any:
        """The loader of a part, "validation" or "test", once and in order; or several."""
        raise NotImplementedError

    def val_dataloader(self) -> Any:
        return self.in_order("validation") if self.validates else []

    def test_dataloader(self) -> Any:
        return self.in_order("test")

    def predict_dataloader(self) -> Any:
        return self.in_order("test")


def view_batch(shapes: Rendered, rows: Int64[Tensor, " B"], seen: Int64[Tensor, "B K"] | None = None) -> ViewBatch:
    """Shapes by their places, with the views that are seen of each; None is all of them."""
    images = torch.stack([shapes.views[int(row)] for row in rows])
    if seen is None:
        seen = torch.arange(images.shape[1]).expand(len(rows), -1)
    return ViewBatch(rows, images, seen, torch.from_numpy(shapes.shapes.labels)[rows])


class ShapeData(ViewData):
    """Shapes to classify and to search among; a step sees some views of each shape, a test all.

    Args:
        root: Folder of ModelNet, of SHREC lists, or with a folder of meshes for each class; without it the packaged
            furniture.
        up: The axis that points up in the files; ModelNet's is known.
        batch_size: Shapes a step.
        channels: Whether the shadings of a camera are seen as one view, their features side by side; without, each is
            a view of its own. Then `train_views` counts cameras.
        views: Options of `ViewData`.
    """

    def __init__(
        self, root: str | None = None, up: Up = "y", batch_size: int = 64, channels: bool = False, **views: Any
    ) -> None:
        super().__init__(root=root, up=up, **views)
        check_at_least(2, batch_size=batch_size)  # of pairs, and standardised
        if channels and (cameras := len(self.look.directions)) < (wanted := self.hparams["train_views"]):
            raise ValueError(f"--data.train_views = {wanted} of {cameras} cameras; expected as many at most")

    @cached_property
    def whole(self) -> Rendered:
        """All shapes that can be rendered, and their images."""
        h = self.hparams
        shapes = load_shapes(h["root"], h["up"], h["test"], h["split_seed"], h["strict"])
        h["up"] = shapes.up  # the layout may say it; checkpoints hold what is so, for meshes that come later
        return render_cached(shapes, self.look, strict=h["strict"])

    @property
    def classes(self) -> tuple[str, ...]:
        return self.whole.shapes.classes

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @cached_property
    def labels(self) -> Int64[Tensor, " N"]:
        return torch.from_numpy(self.whole.shapes.labels)

    @cached_property
    def parts(self) -> dict[str, Int64[Tensor, " n"]]:
        """The places of the shapes that train, validate and test."""
        return self.split(self.hparams["split_seed"], self.hparams["validation"])

    def split(self, seed: int, validation: float) -> dict[str, Int64[Tensor, " n"]]:
        """The data set's own split, or one drawn with the seed; a stratified share of the training shapes validates."""
        h, whole = self.hparams, self.whole.shapes
        drawn = load_shapes(h["root"], h["up"], h["test"], seed)
        marks = dict(zip(drawn.names, drawn.test, strict=True))  # some of these may be broken and left out
        test = np.array([marks[name] for name in whole.names])
        train = np.flatnonzero(~test)
        kept = np.zeros(len(train), bool)
        if validation:
            kept = mark_test(whole.labels[train], test=validation, seed=seed)
        places = {"train": train[~kept], "validation": train[kept], "test": np.flatnonzero(test)}
        return {name: torch.from_numpy(rows) for name, rows in places.items()}

    def facts(self) -> dict[str, str]:
        """What a table of scores must say of its data."""
        found, h = self.whole, self.hparams
        counts = ", ".join(f"{name} {len(rows)}" for name, rows in self.parts.items() if len(rows))
        broken = f"; {len(found.broken)} broken and left out" if found.broken else ""
        return {
            "data": f"{found.shapes.title}, {len(found.shapes)} shapes in {self.num_classes} classes{broken}",
            "split": f"{counts} (seed {h['split_seed']} where the data have no split of their own)",
            "views": f"{in_words(self.look)}; {h['train_views']} at random in training",
            "protocol": "each test shape searches all others; classifiers learn on the training shapes",
        }

    def batches(self, rows: Int64[Tensor, " n"], seed: int) -> Shuffled:
        """Which of the rows make the steps of training, a function of (seed, epoch, step)."""
        return Shuffled(len(rows), size=self.hparams["batch_size"], seed=seed)

    def batch(self, rows: Int64[Tensor, " B"], seen: Int64[Tensor, "B K"] | None = None) -> Any:
        """Shapes by their places, with the views that are seen of each; None is all of them. An app may add to it."""
        return view_batch(self.whole, rows, seen)

    def some_views(self, count: int, *key: int) -> Int64[Tensor, "B K"]:
        """Different views of each of `count` shapes, drawn with a key such as (seed, epoch, step).

        Of cameras whose shadings are channels all shadings are seen, one after another.
        """
        rng = np.random.default_rng(seed_of(*key))
        cameras, channels = len(self.look.directions), self.hparams["channels"]
        drawn = rng.permuted(np.tile(np.arange(cameras if channels else self.look.views), (count, 1)), axis=1)
        seen = drawn[:, : self.hparams["train_views"]]
        if channels:
            seen = np.concatenate([seen + first for first in range(0, self.look.views, cameras)], 1)
        return torch.from_numpy(seen)

    def drawn(self, rows: Int64[Tensor, " B"], *key: int) -> Any:
        """A batch of training: some of what there is of each shape, drawn with a key such as (seed, epoch, step)."""
        return self.batch(rows, self.some_views(len(rows), *key))

    def image(self, row: int) -> UInt8[Tensor, "3 H W"]:
        """Four views of a shape in one square."""
        return contact_sheet(self.whole.views[row][: len(self.look.directions)])

    def train_dataloader(self) -> DataLoader:
        rows = self.parts["train"]
        sampler = self.batches(rows, self.hparams["seed"])
        return TrainingLoader(Training(self, rows, sampler), sampler, trainer=self.trainer)

    def in_order(self, part: str) -> DataLoader:
        """The shapes of a part once, in order, with all their views."""
        rows = list(self.parts[part].split(self.hparams["eval_batch"]))
        return DataLoader(Whole(self, rows), batch_size=None)


class Training(Dataset):
    """Batches of shapes under some of their views, by index tensors into `rows`."""

    def __init__(self, data: ShapeData, rows: Tensor, sampler: Shuffled) -> None:
        self.data, self.rows, self.sampler = data, rows, sampler

    def __getitem__(self, chosen: Tensor) -> Any:
        key = (self.data.hparams["seed"], self.sampler.epoch, *chosen[:2].tolist())  # each batch has its own first rows
        return self.data.drawn(self.rows[chosen], *key)


class Whole(Dataset):
    """Batches of shapes under all views."""

    def __init__(self, data: ShapeData, rows: Sequence[Tensor]) -> None:
        self.data, self.rows = data, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> ViewBatch:
        if index >= len(self.rows):
            raise IndexError(index)
        return self.data.batch(self.rows[index])


def one_view(views: UInt8[Tensor, "V C S S"]) -> UInt8[Tensor, "3 S S"]:
    """A shape from a little to the side, in three channels.

    >>> one_view(torch.zeros(12, 1, 64, 64, dtype=torch.uint8)).shape
    torch.Size([3, 64, 64])
    """
    return views[1 % len(views)].expand(3, -1, -1)


def contact_sheet(views: UInt8[Tensor, "V C S S"]) -> UInt8[Tensor, "3 H W"]:
    """Four views, a quarter of the way around each, in a square.

    >>> contact_sheet(torch.zeros(12, 1, 64, 64, dtype=torch.uint8)).shape
    torch.Size([3, 128, 128])
    """
    a, b, c, d = (views[k * len(views) // 4].expand(3, -1, -1) for k in range(4))
    return torch.cat([torch.cat([a, b], 2), torch.cat([c, d], 2)], 1)
