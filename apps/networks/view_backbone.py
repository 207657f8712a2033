"""A backbone in two parts: early layers that stay as they are, and late ones that are tuned."""

from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from apps.networks import pretrained


class ViewBackbone(nn.Module):
    """A timm model over views, its first blocks frozen: maps = early(images), features = late(maps).

    Batch normalisation keeps its statistics in both parts: a few shapes a step have worse ones.

    Args:
        name, weights, kwargs: see `apps.networks.pretrained.backbone`.
        frozen: how many of its blocks, with all before them, stay as they are; 0 tunes all, −1 freezes all.

    Raises:
        ValueError: more blocks than there are, or a backbone of another build than EfficientNet's, which can only be
            tuned or frozen as a whole; and as `apps.networks.pretrained.backbone`.

    >>> net = ViewBackbone("efficientnet_lite0", "none", frozen=5)
    >>> maps = net.early(torch.zeros(2, 1, 64, 64, dtype=torch.uint8))
    >>> maps.shape, net.late(maps).shape
    (torch.Size([2, 112, 4, 4]), torch.Size([2, 1280]))
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, weights: str, *, frozen: int, **kwargs: Any) -> None:
        super().__init__()
        model = pretrained.backbone(name, weights, **kwargs)
        mean, std = pretrained.normalisation(model, weights)
        self.register_buffer("mean", 255 * torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(std).view(3, 1, 1))
        self.features = pretrained.num_features(model)
        if frozen in (0, -1):
            parts = [nn.Identity(), model]
        else:
            layers = in_order(model, name)
            names = [name for name, _ in layers]
            if f"blocks.{frozen - 1}" not in names:
                blocks = sum(name.startswith("blocks.") for name in names)
                raise ValueError(
                    f"--model.frozen = {frozen}; {name} has {blocks} blocks: expected -1 (all of it) to {blocks}"
                )
            cut = names.index(f"blocks.{frozen - 1}") + 1
            parts = [nn.Sequential(*(layer for _, layer in part)) for part in (layers[:cut], layers[cut:])]
        if frozen == -1:
            parts.reverse()
        self.first, self.last = parts
        self.first.requires_grad_(False)
        if pretrained.convolves(model):
            self.to(memory_format=torch.channels_last)
        self.train()

    @property
    def has_frozen_part(self) -> bool:
        return not isinstance(self.first, nn.Identity)

    def early(self, images: UInt8[Tensor, "B C S S"]) -> Float[Tensor, "B ..."]:
        """What the frozen part makes of images, grey or coloured; without gradients. All in one order of rows."""
        x = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            return self.first(x)

    def late(self, maps: Float[Tensor, "B ..."]) -> Float[Tensor, "B F"]:
        return self.last(maps)

    def maps(
        self,
        rows: Int64[Tensor, " B"],
        images: UInt8[Tensor, "B V C S S"],
        seen: Int64[Tensor, "B K"],
        memory: dict[int, Tensor],
    ) -> Float[Tensor, "B K ..."]:
        """What the frozen part makes of the views that are seen of each shape; from memory, where it has been before.

        Args:
            rows: places of the shapes in their data set.
            images, seen: all views of each, and which of them to take.
            memory: what the frozen part made of the views of a shape, at half precision, by its place.
        """
        if not self.has_frozen_part:
            return torch.stack([self.early(views) for views in images[torch.arange(len(rows))[:, None], seen]])
        for row, views in zip(rows.tolist(), images, strict=True):
            if row not in memory:  # always all views of one shape: another batch would round differently
                memory[row] = self.early(views).half()
        return torch.stack([memory[row][some] for row, some in zip(rows.tolist(), seen, strict=True)]).float()

    def train(self, mode: bool = True) -> "ViewBackbone":
        super().train(mode)
        self.first.eval()
        for module in self.last.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


def in_order(model: nn.Module, name: str) -> list[tuple[str, nn.Module]]:
    """The layers of an EfficientNet in the order of its forward pass."""
    blocks = getattr(model, "blocks", None)
    expected = ["conv_stem", "bn1", "blocks", "conv_head", "bn2", "global_pool", "classifier"]
    if [child for child, _ in model.named_children()] != expected or not isinstance(blocks, nn.Sequential):
        raise ValueError(
            f"--model.frozen counts the blocks of EfficientNets; {name} is no such network: expected 0 (tune all) or "
            "-1 (freeze all of it)"
        )
    layers: list[tuple[str, nn.Module]] = []
    for child, module in model.named_children():
        layers += [(f"blocks.{i}", b) for i, b in enumerate(blocks)] if module is blocks else [(child, module)]
    return layers
