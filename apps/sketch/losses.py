"""The loss of a batch of sketches and a batch of shapes."""

from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from apps.networks.pair_losses import pair_loss
from geomdml.losses import BatchTransportLoss, CHESTLoss
from geomdml.nn import HyperbolicHead
from geomdml.spaces import Hyperbolic, Space

Name = Literal["transport", "uniform", "triplet", "contrastive", "lifted_structure", "n_pairs", "chest"]


class Side(NamedTuple):
    """What a branch makes of its part of a batch: features before the last layer, embeddings, and the class indices."""

    features: Float[Tensor, "B F"]
    embeddings: Float[Tensor, "B D"]
    labels: Integer[Tensor, " B"]


class CrossModalLoss(nn.Module):
    """One of the losses under one signature, on pairs within sketches, within shapes, and across.

    "transport" and "uniform", its control, are the sum over four pairs of batches: sketches with sketches, shapes with
    shapes, and the two with each other in both directions (arXiv 1903.08923, its code for SHREC). The other losses of
    pairs take all pairs of the two batches as one. "chest" compares all with proxies, which both share as they share
    the head that leads into hyperbolic space.

    Args:
        name: which; `apps.networks.pair_losses` says what the losses of pairs are.
        num_classes, in_features: classes, and dimension of the features before the last layer.
        space: where the embeddings live; CHEST wants a hyperbolic one, n_pairs Euclidean.
        settings: of the loss, such as margin=1.0; those of CHEST are `CHESTLoss`'s.

    Raises:
        ValueError: a setting that the loss does not have, or a space in which it does not work.

    >>> from geomdml.spaces import Euclidean
    >>> loss = CrossModalLoss("transport", 2, 8, space=Euclidean(), margin=1.0)
    >>> side = Side(torch.randn(6, 8), torch.randn(6, 4), torch.arange(6) % 2)
    >>> loss(side, side, head=nn.Linear(8, 4)).shape
    torch.Size([])
    """

    def __init__(self, name: Name, num_classes: int, in_features: int, *, space: Space, **settings: Any) -> None:
        super().__init__()
        self.loss: Any
        if name != "chest":
            self.loss = pair_loss(name, space=space, **settings)
            return
        if not isinstance(space, Hyperbolic):
            raise ValueError(f"loss 'chest' does not work in {space}; expected --model.space hyperbolic")
        try:
            self.loss = CHESTLoss(num_classes, in_features, **settings)
        except TypeError as error:
            raise ValueError(f"loss 'chest' with {settings}: {error}") from error

    def forward(self, sketches: Side, shapes: Side, *, head: nn.Module) -> Tensor:
        """Of both sides of a batch; `head` is the last layer, which CHEST needs, and both sides then share."""
        (_, f, f_labels), (_, g, g_labels) = sketches, shapes
        if isinstance(self.loss, CHESTLoss):
            assert isinstance(head, HyperbolicHead)
            features = torch.cat([sketches.features, shapes.features])
            return self.loss(features, torch.cat([f_labels, g_labels]), head=head)
        if isinstance(self.loss, BatchTransportLoss):
            across = self.loss(f, f_labels, g, g_labels)  # the other direction is its transpose: the same value
            return self.loss(f, f_labels) + self.loss(g, g_labels) + 2 * across
        return self.loss(f, f_labels, g, g_labels)
