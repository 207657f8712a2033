"""Sketches and shapes, and batches with both: the same classes on both sides."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from apps.datasets.registry import load_sketches
from apps.datasets.sketched_shapes import SketchedShapes
from apps.shapes.labelled_shapes import mark_test
from apps.shapes.views import Rendered, render_cached
from apps.sketch.augment import redraw
from apps.sketch.batches import BothBalanced
from apps.sketch.drawing import contours, frame
from apps.training.loading import TrainingLoader
from apps.training.options import check_at_least
from apps.training.sampling import Draw, seed_of
from apps.training.shape_data import ViewBatch, ViewData, in_words, view_batch


class Both(NamedTuple):
    """Sketches and shapes of one step. A sketch's views are the ways in which it is drawn."""

    sketches: ViewBatch
    shapes: ViewBatch


class SketchData(ViewData):
    """Sketches as images that look drawn, shapes as images from around them; all shapes are the gallery.

    Args:
        root: Folder of SHREC'13 or SHREC'14 as unpacked: sketches in CLASS/train and CLASS/test, models, and the list
            of these (*Model*.cla). Without it: packaged pictograms and furniture.
        test: Share of the pictograms for testing, stratified; the contests have a split of their own.
        validation: Share of the other sketches kept out, to choose the best epoch by; with 0 all of them train.
        variants: How many ways each training sketch is drawn in, the first as it is; made once and cached in memory.
        contours: Share of the sketches of a step that are contours of its shapes instead, of one view of each.
        classes_per_batch: Classes in a step.
        per_class: Sketches, and shapes, of each of them.
        steps: Steps an epoch.
        eval_batch: Sketches, or shapes, in a batch of validation and test.
        views: Options of `ViewData`.
    """

    def __init__(
        self,
        root: str | None = None,
        test: float = 0.25,
        validation: float = 1 / 3,
        variants: int = 8,
        contours: float = 0.0,
        classes_per_batch: int = 16,
        per_class: int = 4,
        steps: int = 25,
        eval_batch: int = 32,
        **views: Any,
    ) -> None:
        super().__init__(root=root, test=test, validation=validation, eval_batch=eval_batch, **views)
        check_at_least(1, variants=variants)
        if not 0 <= contours <= 1:
            raise ValueError(f"--data.contours = {contours:g}; expected a share, 0 to 1")
        self.cached: dict[int, UInt8[Tensor, "A 1 S S"]] = {}

    @cached_property
    def source(self) -> SketchedShapes:
        h = self.hparams
        options = {"size": h["size"], "up": h["up"], "test": h["test"], "seed": h["split_seed"], "strict": h["strict"]}
        return load_sketches(h["root"], **options)

    @cached_property
    def gallery(self) -> Rendered:
        """All shapes that can be rendered, and their images."""
        return render_cached(self.source.shapes, self.look, strict=self.hparams["strict"])

    @property
    def classes(self) -> tuple[str, ...]:
        return self.source.classes

    @cached_property
    def labels(self) -> dict[str, Int64[Tensor, " N"]]:
        """Class indices of all sketches and of all shapes."""
        return {
            "sketches": torch.from_numpy(self.source.sketches.labels),
            "shapes": torch.from_numpy(self.gallery.shapes.labels),
        }

    @cached_property
    def parts(self) -> dict[str, Int64[Tensor, " n"]]:
        """The places of the sketches that train, validate and test."""
        return self.split(self.hparams["split_seed"])

    def split(self, seed: int) -> dict[str, Int64[Tensor, " n"]]:
        """The contest's own split, or one drawn with the seed; a stratified share of the other sketches validates."""
        h, labels = self.hparams, self.source.sketches.labels
        test = self.source.test if h["root"] is not None else mark_test(labels, test=h["test"], seed=seed)
        others = np.flatnonzero(~test)
        kept = mark_test(labels[others], test=h["validation"], seed=seed)
        places = {"train": others[~kept], "validation": others[kept], "test": np.flatnonzero(test)}
        return {name: torch.from_numpy(rows) for name, rows in places.items()}

    def facts(self) -> dict[str, str]:
        """What a table of scores must say of its data."""
        h, source, shapes = self.hparams, self.source, self.gallery.shapes
        parts = ", ".join(f"{len(rows)} {name}" for name, rows in self.parts.items() if len(rows))
        broken = f"; {len(self.gallery.broken)} broken and left out" if self.gallery.broken else ""
        made = f"{h['variants']} ways of drawing each in training" + (
            f", {h['contours']:.0%} contours" if h["contours"] else ""
        )
        return {
            "data": f"{source.title}: {len(source.sketches)} sketches, {len(shapes)} shapes, "
            f"{len(source.classes)} classes{broken}",
            "sketches": f"{parts} (seed {h['split_seed']} where the data have no split of their own); {made}",
            "shapes": f"views: {in_words(self.look)}; {h['train_views']} of them a step",
            "protocol": "each test sketch searches all shapes, which training has seen; each shape all test sketches",
            **({"mind": " ".join(source.notes)} if source.notes else {}),
        }

    def drawings(self, row: int) -> UInt8[Tensor, "A 1 S S"]:
        """The ways in which a training sketch is drawn, a function of (seed, row).

        Rows behind those of the sketches are contours: view v of shape i is row N + i·V + v.
        """
        if row not in self.cached:
            h = self.hparams
            shape, view = divmod(row - len(self.source.sketches), self.look.views)
            plain = self.sketch(row) if shape < 0 else contours(self.gallery.views[shape][view : view + 1])[0]
            others = redraw(plain, h["variants"] - 1, seed_of(h["seed"], row))
            self.cached[row] = torch.cat([plain[None], others])
        return self.cached[row]

    def sketch(self, row: int) -> UInt8[Tensor, "1 S S"]:
        """A sketch as it is."""
        return frame(self.source.sketches.image(row), self.hparams["size"])

    def batches(self, rows: Int64[Tensor, " n"], seed: int) -> BothBalanced:
        """Which of these sketches, and which shapes, make the steps of training; a function of (seed, epoch, step)."""
        h = self.hparams
        sizes = {"classes": h["classes_per_batch"], "per_class": h["per_class"], "steps": h["steps"], "seed": seed}
        return BothBalanced(rows.numpy(), self.labels["sketches"][rows].numpy(), self.labels["shapes"].numpy(), **sizes)

    def both(self, draws: Sequence[tuple[Draw, Draw]]) -> Both:
        """The sketches and the shapes of a step."""
        h = self.hparams
        rngs = [np.random.default_rng(sketch.seed) for sketch, _ in draws]
        rows, ways, seen = [], [], []
        for (sketch, shape), rng in zip(draws, rngs, strict=True):
            seen.append(rng.permutation(self.look.views)[: h["train_views"]])
            view = seed_of(h["seed"], shape.image) % self.look.views  # one of each shape: all would take long to draw
            contour = len(self.source.sketches) + shape.image * self.look.views + view
            rows.append(contour if rng.random() < h["contours"] else sketch.image)
            ways.append([int(rng.integers(h["variants"]))])
        labels = self.labels["shapes"][[shape.image for _, shape in draws]]
        return Both(
            ViewBatch(torch.tensor(rows), torch.stack(list(map(self.drawings, rows))), torch.tensor(ways), labels),
            self.shapes([shape.image for _, shape in draws], torch.from_numpy(np.array(seen))),
        )

    def sketches(self, rows: Sequence[int]) -> ViewBatch:
        """Sketches as they are. Their rows are −1, −2, ...: these images are not those of `drawings`."""
        images = torch.stack([self.sketch(row) for row in rows])[:, None]
        places = -1 - torch.tensor(rows)
        return ViewBatch(places, images, torch.zeros(len(rows), 1).long(), self.labels["sketches"][rows])

    def shapes(self, rows: Sequence[int], seen: Int64[Tensor, "B K"] | None = None) -> ViewBatch:
        """Shapes by their places, with the views that are seen of each; None is all of them."""
        return view_batch(self.gallery, torch.tensor(rows), seen)

    def train_dataloader(self) -> DataLoader:
        batches = self.batches(self.parts["train"], self.hparams["seed"])
        return TrainingLoader(Made(self.both), batches, trainer=self.trainer)

    def in_order(self, part: str) -> list[DataLoader]:
        """Two loaders: the sketches of a part as they are, and all shapes under all views; once, in order."""
        sizes = self.hparams["eval_batch"]
        sketches = [rows.tolist() for rows in self.parts[part].split(sizes)]
        shapes = [rows.tolist() for rows in torch.arange(len(self.gallery.shapes)).split(sizes)]
        return [
            DataLoader(Made(self.sketches), sampler=sketches, batch_size=None),
            DataLoader(Made(self.shapes), sampler=shapes, batch_size=None),
        ]


class Made(Dataset):
    """What a function makes of the items that a sampler gives."""

    def __init__(self, make: Callable[[Any], NamedTuple]) -> None:
        self.make = make

    def __getitem__(self, items: Any) -> NamedTuple:
        return self.make(items)
