"""The metric losses that join the softmax, by name: those of `apps.networks.pair_losses`, the centre loss, CHEST."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from apps.networks import pair_losses
from apps.networks.pair_losses import pair_loss
from apps.networks.proxy_losses import chest_loss
from geomdml.losses import CHESTLoss
from geomdml.nn import HyperbolicHead
from geomdml.spaces import Euclidean, Space

Name = Literal["softmax", pair_losses.Name, "centre", "chest"]  # of `LOSSES`


class Sizes(NamedTuple):
    """Classes, and the dimensions of the features before the head and of the embedding."""

    num_classes: int
    in_features: int
    dim: int


class CentreLoss(nn.Module):
    """½ mean ‖f_i − c_{y_i}‖²: embeddings are drawn to the centre of their class, which is learned with them.

    Source: Wen, Zhang, Li and Qiao, "A discriminative feature learning approach for deep face recognition" (2016),
    equation (2). There the centres move by a rule of their own; here by the optimiser.

    >>> loss = CentreLoss(num_classes=2, dim=1)
    >>> loss(torch.tensor([[1.0], [3.0]]), torch.tensor([0, 1])).item()
    2.5
    """

    def __init__(self, num_classes: int, dim: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.zeros(num_classes, dim))

    def forward(self, embeddings: Float[Tensor, "B D"], labels: Integer[Tensor, " B"]) -> Tensor:
        return (embeddings - self.centres[labels]).square().sum(-1).mean() / 2


class NoLoss(nn.Module):
    """0, where the softmax trains alone."""

    def forward(self, embeddings: Float[Tensor, "B D"], labels: Integer[Tensor, " B"]) -> Tensor:
        return embeddings.new_zeros(())


def softmax(sizes: Sizes, space: Space, **settings: Any) -> NoLoss:
    _refuse("softmax", settings)
    return NoLoss()


def centre(sizes: Sizes, space: Space, **settings: Any) -> CentreLoss:
    if not isinstance(space, Euclidean):
        raise ValueError(f"loss 'centre' does not work in {space}; expected Euclidean space")
    _refuse("centre", settings)
    return CentreLoss(sizes.num_classes, sizes.dim)


def chest(sizes: Sizes, space: Space, **settings: Any) -> CHESTLoss:
    return chest_loss(sizes.num_classes, sizes.in_features, space, **settings)


def of_pairs(name: str, sizes: Sizes, space: Space, **settings: Any) -> Any:
    return pair_loss(name, space=space, **settings)


LOSSES: dict[str, Callable[..., Any]] = {
    "softmax": softmax,
    **{name: partial(of_pairs, name) for name in pair_losses.LOSSES},
    "centre": centre,
    "chest": chest,
}


class MetricLoss(nn.Module):
    """One of the losses under one signature; "softmax" is none of them, and gives 0.

    Args:
        name: one of `LOSSES`; `apps.networks.pair_losses` says what the losses of pairs are.
        num_classes, in_features, dim: see `Sizes`.
        space: where the embeddings live; CHEST needs a hyperbolic one, the centre loss and n_pairs Euclidean.
        settings: of the loss, such as margin=8.0; those of CHEST are `CHESTLoss`'s.

    Raises:
        ValueError: an unknown name, a setting that the loss does not have, or a space in which it does not work.

    >>> loss = MetricLoss("triplet", 2, 8, 4, space=Euclidean(), margin=0.1)
    >>> loss(torch.randn(6, 8), torch.randn(6, 4), torch.arange(6) % 2, head=nn.Linear(8, 4)).shape
    torch.Size([])
    """

    def __init__(
        self, name: Name, num_classes: int, in_features: int, dim: int, *, space: Space, **settings: Any
    ) -> None:
        super().__init__()
        if name not in LOSSES:
            raise ValueError(f"there is no loss {name!r}; expected one of {', '.join(LOSSES)}")
        self.loss = LOSSES[name](Sizes(num_classes, in_features, dim), space, **settings)

    def forward(
        self,
        features: Float[Tensor, "B F"],
        embeddings: Float[Tensor, "B D"],
        labels: Integer[Tensor, " B"],
        *,
        head: nn.Module,
    ) -> Tensor:
        """Of features, their embeddings, and labels; `head` is the layer between the two, which CHEST needs."""
        if isinstance(self.loss, CHESTLoss):
            assert isinstance(head, HyperbolicHead)
            return self.loss(features, labels, head=head)
        return self.loss(embeddings, labels)


def _refuse(name: str, settings: dict[str, Any]) -> None:
    if settings:
        raise ValueError(f"loss {name!r} has no setting {min(settings)!r}; it has none")
