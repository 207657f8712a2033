"""What the frozen part of a backbone makes of the images, made once for all trainings of a study.

To be kept, each training image is augmented in a few ways that are drawn once, and not anew in each step. Where
nothing is frozen there is nothing to keep: images are then augmented afresh, as in a fit.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from apps.chest_vit.data import Augmented, RetrievalData, Whole, stack
from apps.chest_vit.model import CHEST
from apps.datasets.labelled_images import LabelledImages
from apps.networks.view_backbone import in_order
from apps.training.sampling import Draw, seed_of

CHUNK = 64  # images at a time, always the same ones: in another batch they would be rounded differently

Part = Literal["train", "validation", "test"]


class KeptMaps:
    """The images of a data module, as the frozen part of a model's backbone makes maps of them.

    The frozen part is the longest start of an EfficientNet's layers that the model has in `frozen`.

    Args:
        model: has the frozen part.
        data: the images, and how they are augmented.
        variants: augmented forms of each training image.

    Raises:
        ValueError: variants below 1.
    """

    def __init__(self, model: CHEST, data: RetrievalData, *, variants: int) -> None:
        if variants < 1:
            raise ValueError(f"variants = {variants}; expected at least 1")
        self.model, self.data, self.variants = model.eval(), data, variants
        self.layers = _frozen_layers(model)
        self.kept: dict[tuple[str, int], Tensor] = {}

    def training(self, draws: Sequence[Draw]) -> Tensor:
        """Maps of a batch of augmented images; the seed of a draw says which variant of its image it is."""
        augmented = Augmented(self.data.train, self.data.augment)
        if not self.layers:
            return augmented[list(draws)].images

        def images(rows: range) -> Tensor:
            return augmented[[Draw(row, seed_of(row, variant)) for row in rows]].images

        variants = np.array([draw.seed % self.variants for draw in draws])
        for variant in range(self.variants):
            self._keep(("training images", variant), len(self.data.train), images)
        return torch.stack(
            [self.kept["training images", v][d.image] for v, d in zip(variants, draws, strict=True)]
        ).float()

    def whole(self, part: Part) -> Tensor:
        """Maps of all images of a part, in order and as they are tested."""
        found = Whole(self.images(part), self.data.whole)
        self._keep((part, 0), len(found), lambda rows: stack([found[row] for row in rows]).images)
        return self.kept[part, 0]

    def images(self, part: Part) -> LabelledImages:
        """
        Raises:
            ValueError: validation, where nothing is kept out for it.
        """
        if part != "validation":
            return getattr(self.data, part)
        if self.data.split.validation is None:
            raise ValueError("--data.validation = 0 keeps no images to choose settings by; expected a share above 0")
        return self.data.split.validation

    def features(self, model: CHEST, maps: Tensor) -> Tensor:
        """The features that a model, whose frozen part is the same, makes of maps."""
        maps = maps.to(model.device)
        if not self.layers:
            return model.features(maps)
        for layer in _layers(model)[self.layers :]:
            maps = layer(maps.float())
        return maps

    @torch.no_grad()
    def _keep(self, key: tuple[str, int], count: int, images: Callable[[range], Tensor]) -> None:
        if key in self.kept:
            return
        chunks = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
        console = Console(stderr=True)
        shown = track(chunks, f"{key[0]}, {key[1] + 1}", console=console, disable=not console.is_terminal)
        self.kept[key] = torch.cat([self._maps(images(rows)) for rows in shown])

    def _maps(self, images: Tensor) -> Tensor:
        if not self.layers:
            return images
        x = (images.to(self.model.device).float() - self.model.mean) / self.model.std
        x = x.contiguous(memory_format=torch.channels_last)
        for layer in _layers(self.model)[: self.layers]:
            x = layer(x)
        return x.half().cpu()


def _layers(model: CHEST) -> list[torch.nn.Module]:
    return [layer for _, layer in in_order(model.backbone, model.hparams["backbone"])]


def _frozen_layers(model: CHEST) -> int:
    """How many layers, from the first, are frozen; 0 of a backbone that is no EfficientNet."""
    try:
        names = [name for name, _ in in_order(model.backbone, model.hparams["backbone"])]
    except ValueError:
        return 0
    frozen = set(model.hparams["frozen"])
    return next((place for place, name in enumerate(names) if name not in frozen), len(names))
