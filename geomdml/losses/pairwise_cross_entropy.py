"""Pairwise cross-entropy loss of Hyp-ViT, in any space."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from geomdml._core import checks
from geomdml.losses._mined import Indices, check_arguments
from geomdml.losses.functional import Reduction, in_mean_units, pairwise_cross_entropy
from geomdml.spaces import Euclidean, Space

__all__ = ["PairwiseCrossEntropyLoss"]


class PairwiseCrossEntropyLoss(nn.Module):
    """Each pair of one class is told from the pairs with other classes in the batch, by distance; no proxies.

    Args:
        space: where the embeddings live; None is Euclidean.
        temperature: T > 0, in the unit of the distances.
        relative: measure distances in units of their mean over the batch; the paper takes them raw.
        reduction: "mean", "sum" or "none" over the pairs.

    Raises:
        ValueError, TypeError: as `geomdml.losses.functional.pairwise_cross_entropy`.

    Source: Hyp-ViT, Ermolov et al. (2022), its pairwise cross-entropy loss; there T = 0.2, c = 0.1 and r = 2.3.

    >>> import torch
    >>> from geomdml.spaces import Hyperbolic
    >>> loss = PairwiseCrossEntropyLoss(space=Hyperbolic(c=0.1))
    >>> loss(torch.randn(6, 8), torch.tensor([0, 0, 1, 1, 2, 2])).shape
    torch.Size([])
    """

    def __init__(
        self,
        *,
        space: Space | None = None,
        temperature: float = 0.2,
        relative: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.space = Euclidean() if space is None else space
        self.temperature, self.relative, self.reduction = temperature, relative, reduction

    def forward(
        self,
        embeddings: Float[Tensor, "N D"],
        labels: Int[Tensor, " N"],
        indices_tuple: Indices | None = None,
        ref_emb: Float[Tensor, "P D"] | None = None,
        ref_labels: Int[Tensor, " P"] | None = None,
    ) -> Tensor:
        """The loss of a batch against itself or a reference set, on all pairs or on those of a miner."""
        check_arguments(indices_tuple, ref_emb, ref_labels)
        checks.batch(embeddings=embeddings)
        if ref_emb is None:
            ref_emb = embeddings
        else:
            checks.batch(ref_emb=ref_emb)
        dist = self.space.pairwise_dist(embeddings, ref_emb)
        return pairwise_cross_entropy(
            in_mean_units(dist) if self.relative else dist,
            labels,
            ref_labels,
            temperature=self.temperature,
            indices_tuple=indices_tuple,
            reduction=self.reduction,
        )
