"""The loss of a batch of sketches and a batch of shapes."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from apps.networks import pair_losses
from apps.networks.pair_losses import pair_loss
from apps.networks.proxy_losses import chest_loss
from geomdml.losses import BatchTransportLoss, CHESTLoss
from geomdml.nn import HyperbolicHead
from geomdml.spaces import Space

Name = Literal[pair_losses.Name, "chest"]  # of `LOSSES`


def of_pairs(name: str, num_classes: int, in_features: int, space: Space, **settings: Any) -> Any:
    return pair_loss(name, space=space, **settings)


LOSSES: dict[str, Callable[..., Any]] = {
    **{name: partial(of_pairs, name) for name in pair_losses.LOSSES},
    "chest": chest_loss,
}


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
        name: one of `LOSSES`; `apps.networks.pair_losses` says what the losses of pairs are.
        num_classes, in_features: classes, and dimension of the features before the last layer.
        space: where the embeddings live; CHEST needs a hyperbolic one, n_pairs Euclidean.
        settings: of the loss, such as margin=1.0; those of CHEST are `CHESTLoss`'s.

    Raises:
        ValueError: an unknown name, a setting that the loss does not have, or a space in which it does not work.

    >>> from geomdml.spaces import Euclidean
    >>> loss = CrossModalLoss("transport", 2, 8, space=Euclidean(), margin=1.0)
    >>> side = Side(torch.randn(6, 8), torch.randn(6, 4), torch.arange(6) % 2)
    >>> loss(side, side, head=nn.Linear(8, 4)).shape
    torch.Size([])
    """

    def __init__(self, name: Name, num_classes: int, in_features: int, *, space: Space, **settings: Any) -> None:
        super().__init__()
        if name not in LOSSES:
            raise ValueError(f"there is no loss {name!r}; expected one of {', '.join(LOSSES)}")
        self.loss = LOSSES[name](num_classes, in_features, space, **settings)

    def forward(self, sketches: Side, shapes: Side, *, head: nn.Module) -> Tensor:
        """Of both sides of a batch; `head` is the last layer, which CHEST needs, and both sides then share."""
        (_, f, f_labels), (_, g, g_labels) = sketches, shapes
        if isinstance(self.loss, CHESTLoss):
            assert isinstance(head, HyperbolicHead)
            features = torch.cat([sketches.features, shapes.features])
            return self.loss(features, torch.cat([f_labels, g_labels]), head=head)
        if isinstance(self.loss, BatchTransportLoss):
            # the other direction is its transpose: the same value
            across = self.loss(f, f_labels, ref_emb=g, ref_labels=g_labels)
            return self.loss(f, f_labels) + self.loss(g, g_labels) + 2 * across
        return self.loss(f, f_labels, ref_emb=g, ref_labels=g_labels)
