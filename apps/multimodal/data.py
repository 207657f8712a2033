"""Shapes in two modalities, and batches of both."""

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from apps.multimodal.points import Cloud, sample_cached
from apps.shapes.store import Arrays
from apps.training.sampling import seed_of
from apps.training.shape_data import ShapeData


class ViewPointBatch(NamedTuple):
    """Shapes by their place in the data, all their images, which of these are seen, their points and classes."""

    rows: Int64[Tensor, " B"]
    images: UInt8[Tensor, "B V C S S"]
    seen: Int64[Tensor, "B K"]
    points: Float[Tensor, "B N 3"]
    labels: Int64[Tensor, " B"]


class MultimodalData(ShapeData):
    """Shapes as images and as points, both made once and kept; a step sees some of each, a test all.

    Args:
        points: Points on a shape.
        train_points: Points of a shape in a step, drawn at random.
        jitter: Standard deviation of what is added to each coordinate in training; a shape fills the unit ball.
        scale: Each axis of a shape is scaled in training by a factor within 1 ± this.
        shapes: Options of `ShapeData`.
    """

    def __init__(
        self, points: int = 1024, train_points: int = 128, jitter: float = 0.01, scale: float = 0.2, **shapes: Any
    ) -> None:
        super().__init__(**shapes)
        if self.hparams["channels"]:
            raise ValueError("--data.channels true; expected false: this app takes the mean of all views")
        if not 1 <= train_points <= points:
            raise ValueError(f"--data.train_points = {train_points} of {points} points; expected 1 to as many")
        if not (jitter >= 0 and 0 <= scale < 1):
            raise ValueError(
                f"--data.jitter = {jitter:g}, --data.scale = {scale:g}; expected at least 0, and scale below 1"
            )

    @cached_property
    def points(self) -> Arrays:
        """The points of each of the shapes of `whole`."""
        found = sample_cached(self.whole.shapes, Cloud(self.hparams["points"]), strict=True)
        return found.points

    def facts(self) -> dict[str, str]:
        h = self.hparams
        points = f"{h['points']} on the surface; {h['train_points']} at random in training, jittered and scaled"
        return {**super().facts(), "points": points, "protocol": "classes of the test shapes, from both modalities"}

    def batch(self, rows: Int64[Tensor, " B"], seen: Int64[Tensor, "B K"] | None = None) -> ViewPointBatch:
        """Shapes by their places, with all their points and the views that are seen of each; None is all of them."""
        found = super().batch(rows, seen)
        points = torch.stack([self.points[int(row)] for row in rows])
        return ViewPointBatch(found.rows, found.images, found.seen, points, found.labels)

    def drawn(self, rows: Int64[Tensor, " B"], *key: int) -> ViewPointBatch:
        """A batch of training: some views and some points of each shape, drawn with a key as (seed, epoch, step)."""
        found = self.batch(rows, self.some_views(len(rows), *key))
        return found._replace(points=self.augmented(found.points, *key))

    def augmented(self, points: Float[Tensor, "B N 3"], *key: int) -> Float[Tensor, "B K 3"]:
        """Some points of each shape, the shape scaled along its axes, each point moved a little."""
        h = self.hparams
        rng = np.random.default_rng(seed_of(*key, len(points)))
        chosen = torch.from_numpy(rng.permuted(np.tile(np.arange(points.shape[1]), (len(points), 1)), axis=1))
        some = points.gather(1, chosen[:, : h["train_points"], None].expand(-1, -1, 3))
        factors = rng.uniform(1 - h["scale"], 1 + h["scale"], (len(points), 1, 3))
        moved = h["jitter"] * rng.standard_normal(some.shape)
        return some * torch.from_numpy(factors).float() + torch.from_numpy(moved).float()
