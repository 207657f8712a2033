"""The metric losses that join the softmax, by name: those of `apps.networks.pair_losses`, the centre loss, CHEST."""

from typing import Any, Literal

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from apps.networks.pair_losses import pair_loss
from geomdml.losses import CHESTLoss
from geomdml.nn import HyperbolicHead
from geomdml.spaces import Euclidean, Space

Name = Literal[
    "softmax", "transport", "uniform", "triplet", "contrastive", "lifted_structure", "n_pairs", "centre", "chest"
]


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


class MetricLoss(nn.Module):
    """One of the losses under one signature; "softmax" is none of them, and gives 0.

    Args:
        name: which; `apps.networks.pair_losses` says what the losses of pairs are.
        num_classes, in_features, dim: classes, and dimensions of the features before the head and of the embedding.
        space: where the embeddings live; CHEST wants a hyperbolic one, the centre loss and n_pairs Euclidean.
        settings: of the loss, such as margin=8.0; those of CHEST are `CHESTLoss`'s.

    Raises:
        ValueError: a setting that the loss does not have, or a space in which it does not work.

    >>> loss = MetricLoss("triplet", 2, 8, 4, space=Euclidean(), margin=0.1)
    >>> loss(torch.randn(6, 8), torch.randn(6, 4), torch.arange(6) % 2, head=nn.Linear(8, 4)).shape
    torch.Size([])
    """

    def __init__(
        self, name: Name, num_classes: int, in_features: int, dim: int, *, space: Space, **settings: Any
    ) -> None:
        super().__init__()
        self.name = name
        flat = isinstance(space, Euclidean)
        wanted = {"chest": "a hyperbolic", "centre": "Euclidean"}.get(name)
        if wanted and flat != (wanted == "Euclidean"):
            raise ValueError(f"loss {name!r} does not work in {space}; expected {wanted} space")
        if name in ("softmax", "centre") and settings:
            raise ValueError(f"loss {name!r} has no setting {min(settings)!r}; it has none")
        self.loss: Any = None
        if name == "centre":
            self.loss = CentreLoss(num_classes, dim)
        elif name == "chest":
            try:
                self.loss = CHESTLoss(num_classes, in_features, **settings)
            except TypeError as error:
                raise ValueError(f"loss 'chest' with {settings}: {error}") from error
        elif name != "softmax":
            self.loss = pair_loss(name, space=space, **settings)

    def forward(
        self,
        features: Float[Tensor, "B F"],
        embeddings: Float[Tensor, "B D"],
        labels: Integer[Tensor, " B"],
        *,
        head: nn.Module,
    ) -> Tensor:
        """Of features, their embeddings, and labels; `head` is the layer between the two, which CHEST needs."""
        if self.loss is None:
            return embeddings.new_zeros(())
        if self.name == "chest":
            assert isinstance(head, HyperbolicHead)
            return self.loss(features, labels, head=head)
        return self.loss(embeddings, labels)
