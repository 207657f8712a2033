"""Batch-wise optimal transport loss in any space."""

from typing import Any, Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from geomdml._core import checks
from geomdml._core.numerics import diagonal
from geomdml._core.signatures import takes_arguments_of
from geomdml.losses._mined import Indices, check_arguments, chosen_pairs
from geomdml.losses.functional import Reduction, batch_transport
from geomdml.metric_matrix import (
    Form,
    TooFewPairs,
    check_margins,
    check_sharpness,
    importance_weights,
    metric_matrix,
    same_class,
)
from geomdml.spaces import Euclidean, Space

__all__ = ["BatchTransportLoss", "BatchTransportTerms", "Plan"]

Plan = Literal["transport", "uniform"]


class BatchTransportTerms(NamedTuple):
    """The loss of a batch and what to log beside it; all but `total` are numbers, whatever the reduction.

    total: the loss. positive, negative: its parts from pairs of one class and of two; their sum is its mean.
    uniform: the loss under the uniform plan: what the plan makes of it is the ratio of the two.
    entropy: of the plan, −Σ T·log T over the logarithm of the number of pairs: 1 where it is uniform.
    positive_mass: share of the plan's mass on pairs of one class; positive_share: share of these among all pairs.
    """

    total: Tensor
    positive: Tensor
    negative: Tensor
    uniform: Tensor
    entropy: Tensor
    positive_mass: Tensor
    positive_share: Tensor


class BatchTransportLoss(nn.Module):
    """Σ T·M over the pairs of two batches: the metric matrix M, weighted by the optimal transport T to the hard pairs.

    The plan T is constant in the gradient and in all its derivatives. Without a second batch the first is taken
    against itself, each embedding paired with all others.

    Args:
        space: where the embeddings live; None is Euclidean.
        form, margin, positive_margin: of M, see `geomdml.metric_matrix.metric_matrix`.
        sharpness, reg: of T, see `geomdml.metric_matrix.importance_weights`.
        plan: "transport", or "uniform": the same loss with equal weights, the control for what the transport is worth.
        power: Σ T·M^power; the published code for MNIST has 2 in its place, the paper 1.
        reduction: "mean", "sum" or "none", see `geomdml.losses.functional.batch_transport`.

    Raises:
        ValueError, TypeError: settings that `metric_matrix` or `importance_weights` refuse; labels that do not fit the
            embeddings; an empty batch, or one embedding against itself; ref_emb without ref_labels.

    Source: Xu et al., "Batch-wise optimal transport loss" (arXiv 1903.08923), with the corrections of
    docs/guides/batch-transport.md.

    >>> from geomdml.spaces import Hyperbolic
    >>> loss = BatchTransportLoss(space=Hyperbolic(c=0.5), margin=5.0)
    >>> labels = torch.tensor([0, 0, 1, 1])
    >>> loss(torch.randn(4, 8), labels).shape
    torch.Size([])
    >>> loss(torch.randn(4, 8), labels, ref_emb=torch.randn(3, 8), ref_labels=labels[:3]).shape
    torch.Size([])
    """

    def __init__(
        self,
        *,
        space: Space | None = None,
        form: Form = "squared_distance",
        margin: float = 5.0,
        positive_margin: float = 0.0,
        sharpness: float | Literal["relative"] = "relative",
        reg: float = 0.05,
        plan: Plan = "transport",
        power: int = 1,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_margins(margin, positive_margin, form)
        check_sharpness(sharpness)
        checks.positive(reg=reg, power=power)
        if plan not in get_args(Plan):
            raise ValueError(f"plan = {plan!r}; expected one of {', '.join(map(repr, get_args(Plan)))}")
        self.space = Euclidean() if space is None else space
        self.form, self.margin, self.positive_margin = form, margin, positive_margin
        self.sharpness, self.reg, self.plan = sharpness, reg, plan
        self.power, self.reduction = power, reduction

    def terms(
        self,
        embeddings: Float[Tensor, "B D"],
        labels: Integer[Tensor, " B"],
        indices_tuple: Indices | None = None,
        ref_emb: Float[Tensor, "P D"] | None = None,
        ref_labels: Integer[Tensor, " P"] | None = None,
    ) -> BatchTransportTerms:
        """The loss of embeddings (B, D) with labels (B,) against a second batch, or themselves, and its measures.

        The plan has mass on the pairs of `indices_tuple` alone, which a miner of pytorch-metric-learning names;
        they must be enough for a plan with uniform marginals. None: all pairs.
        """
        check_arguments(indices_tuple, ref_emb, ref_labels)
        against_itself = ref_emb is None
        if ref_emb is None or ref_labels is None:
            ref_emb, ref_labels = embeddings, labels
        checks.batch(embeddings=embeddings, ref_emb=ref_emb)
        labels = checks.labels(len(embeddings), device=embeddings.device, labels=labels)
        ref_labels = checks.labels(len(ref_emb), device=embeddings.device, ref_labels=ref_labels)
        if against_itself and len(embeddings) < 2:
            raise ValueError(
                f"embeddings has shape {tuple(embeddings.shape)}; expected at least 2, or others as ref_emb"
            )

        dist = self.space.pairwise_dist(embeddings, ref_emb)
        same = same_class(labels, ref_labels)
        excluded = torch.zeros_like(same)
        if indices_tuple is not None:
            positive, negative = chosen_pairs(indices_tuple, dist)
            excluded = ~(positive | negative)
            if checks.values_are_checked(dist) and bool(excluded.all()):
                raise ValueError("indices_tuple names no pair; expected enough for a plan with uniform marginals")
        if against_itself:
            excluded = excluded | diagonal(excluded)
        matrix = metric_matrix(dist, same, margin=self.margin, positive_margin=self.positive_margin, form=self.form)
        uniform = (~excluded).to(matrix.dtype) / (~excluded).sum()
        if self.plan == "uniform":
            plan = uniform
        else:
            try:
                plan = importance_weights(matrix, sharpness=self.sharpness, reg=self.reg, exclude=excluded).plan
            except TooFewPairs as error:
                if indices_tuple is None:
                    raise
                raise ValueError(
                    "indices_tuple names too few pairs for a plan with uniform marginals; expected more, or None"
                ) from error

        cost = matrix**self.power
        return BatchTransportTerms(
            total=batch_transport(cost, plan, reduction=self.reduction),
            positive=batch_transport(cost, plan * same),
            negative=batch_transport(cost, plan * ~same),
            uniform=batch_transport(cost, uniform).detach(),
            entropy=_relative_entropy(plan, uniform),
            positive_mass=(plan * same).sum(),
            positive_share=(uniform * same).sum(),
        )

    @takes_arguments_of(terms)
    def forward(self, *batch: Any, **named: Any) -> Tensor:
        """The loss of a batch; arguments as of `terms`."""
        return self.terms(*batch, **named).total


def _relative_entropy(plan: Tensor, uniform: Tensor) -> Tensor:
    """Entropy of a plan by that of the uniform one; 1 for a single pair."""
    most = torch.special.entr(uniform).sum()
    return torch.where(most > 0, torch.special.entr(plan).sum() / torch.where(most > 0, most, 1.0), 1.0)
