"""The losses that the apps compare, by name and under one signature: the batch-wise transport loss and its rivals.

| name | loss | settings |
|---|---|---|
| transport | Σ T·M (`geomdml.losses.BatchTransportLoss`) on the pairs of two batches | margin, sharpness, reg, ... |
| uniform | the same with equal weights T: what is left of the idea without the transport | the same, but for plan |
| contrastive | mean of d over positive pairs + mean of relu(margin − d) over negative ones | margin, positive_margin |
| triplet | mean of d_ap − d_an + margin over the semi-hard triplets | margin |
| lifted_structure | relu(log Σ exp(d_p) + log Σ exp(margin − d_n)) for each anchor | margin |
| n_pairs | cross-entropy of scale·⟨f, f⁺⟩ against the positives of the other classes; expects unit vectors | scale |

All but the first two are those of pytorch-metric-learning. They take two batches as one, so that they see every pair
of the same images, 8,128 where the transport sees 64 × 64. Its `LiftedStructureLoss` compares each positive pair
with each negative one, 1.1 s a step on 128 images of ten classes; this is the form over anchors that bounds it.
"""

import inspect
from collections.abc import Callable
from typing import Any, Literal, Protocol

import torch
from pytorch_metric_learning import distances, losses, miners
from torch import Tensor, nn

from geomdml.losses import BatchTransportLoss
from geomdml.pml import SpaceDistance
from geomdml.spaces import Euclidean, Space

Name = Literal["transport", "uniform", "contrastive", "triplet", "lifted_structure", "n_pairs"]  # of `LOSSES`


class PairLoss(Protocol):
    """A loss of embeddings (B, D) and labels (B,) among themselves, or against a second batch, (P, D) and (P,)."""

    def __call__(
        self, embeddings: Tensor, labels: Tensor, *, ref_emb: Tensor | None = None, ref_labels: Tensor | None = None
    ) -> Tensor: ...


def pair_loss(name: str, *, space: Space | None = None, **settings: Any) -> PairLoss:
    """The loss of this name, with its own defaults for what `settings` leave out; an `nn.Module`.

    Args:
        name: one of `LOSSES`; the module's table says what they are.
        space: where the embeddings live; None is Euclidean.

    Raises:
        ValueError: an unknown name, a setting that this loss does not have, or a value that it refuses.

    >>> loss = pair_loss("contrastive", margin=2.0)
    >>> second = {"ref_emb": torch.tensor([[1.5]]), "ref_labels": torch.tensor([1])}
    >>> loss(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 0]), **second)
    tensor(2.)
    """
    if name not in LOSSES:
        raise ValueError(f"there is no loss {name!r}; expected one of {', '.join(LOSSES)}")
    make = LOSSES[name]
    known = inspect.signature(make).parameters.keys() - {"space"}
    if unknown := settings.keys() - known:
        raise ValueError(f"loss {name!r} has no setting {min(unknown)!r}; it has {', '.join(sorted(known))}")
    return make(space=Euclidean() if space is None else space, **settings)


class Joined(nn.Module):
    """A loss of pytorch-metric-learning, and its miner, on all pairs of one batch, or of two taken as one.

    Args:
        factor: on the embeddings.
    """

    def __init__(self, loss: nn.Module, miner: nn.Module | None = None, *, factor: float | None = None) -> None:
        super().__init__()
        self.loss, self.miner, self.factor = loss, miner, factor

    def forward(
        self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor | None = None, ref_labels: Tensor | None = None
    ) -> Tensor:
        if (ref_emb is None) != (ref_labels is None):
            raise ValueError("ref_emb and ref_labels go together; expected both or neither")
        if ref_emb is not None and ref_labels is not None:
            embeddings, labels = torch.cat([embeddings, ref_emb]), torch.cat([labels, ref_labels])
        if self.factor is not None:
            embeddings = self.factor * embeddings
        mined = None if self.miner is None else self.miner(embeddings, labels)
        return self.loss(embeddings, labels, mined)


def contrastive(space: Space, margin: float = 1.0, positive_margin: float = 0.0) -> Joined:
    """Hadsell, Chopra and LeCun (2006), with distances to the first power; means over the pairs that cost anything."""
    return Joined(losses.ContrastiveLoss(positive_margin, margin, distance=SpaceDistance(space)))


def triplet(space: Space, margin: float = 0.2) -> Joined:
    """Schroff, Kalenichenko and Philbin (2015): the negative is farther than the positive, within the margin."""
    distance = SpaceDistance(space)
    miner = miners.TripletMarginMiner(margin, type_of_triplets="semihard", distance=distance)
    return Joined(losses.TripletMarginLoss(margin, distance=distance), miner)


def lifted_structure(space: Space, margin: float = 1.0) -> Joined:
    """Oh Song, Xiang, Jegelka and Savarese (2016), in the form of Hermans, Beyer and Leibe (2017, page 4)."""
    return Joined(losses.GeneralizedLiftedStructureLoss(neg_margin=margin, distance=SpaceDistance(space)))


def n_pairs(space: Space, scale: float = 16.0) -> Joined:
    """Sohn (2016): one pair of each class in the batch; similarities are scale·⟨f, g⟩, of Euclidean space alone."""
    if not isinstance(space, Euclidean):
        raise ValueError(f"n_pairs compares by inner products and does not work in {space}; expected Euclidean()")
    if not scale > 0:
        raise ValueError(f"scale = {scale}; expected a number above 0")
    similarity = distances.DotProductSimilarity(normalize_embeddings=False)
    return Joined(losses.NPairsLoss(distance=similarity), factor=scale**0.5)


def transport(
    space: Space,
    margin: float = 5.0,
    positive_margin: float = 0.0,
    form: Any = "squared_distance",
    sharpness: Any = "relative",
    reg: float = 0.05,
    power: int = 1,
) -> BatchTransportLoss:
    return BatchTransportLoss(
        space=space,
        margin=margin,
        positive_margin=positive_margin,
        form=form,
        sharpness=sharpness,
        reg=reg,
        power=power,
    )


def uniform(
    space: Space, margin: float = 5.0, positive_margin: float = 0.0, form: Any = "squared_distance", power: int = 1
) -> BatchTransportLoss:
    return BatchTransportLoss(
        space=space, margin=margin, positive_margin=positive_margin, form=form, power=power, plan="uniform"
    )


LOSSES: dict[str, Callable[..., PairLoss]] = {
    make.__name__: make for make in (transport, uniform, contrastive, triplet, lifted_structure, n_pairs)
}
