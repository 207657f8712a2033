"""SoftTriple loss in any space."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from geomdml.losses._mined import compares_with_proxies
from geomdml.losses.functional import Reduction, in_mean_units, soft_triple, soft_triple_similarity
from geomdml.losses.proxies import Proxies
from geomdml.spaces import Euclidean, Space, in_unbounded_chart

__all__ = ["SoftTripleLoss"]


class SoftTripleLoss(nn.Module):
    """SoftTriple loss with learned proxies, in any space.

    With `relative=True` distances are measured in units of their mean over the batch, so that one setting of scale,
    margin and γ serves every backbone and space; with False they are taken as they are, as in the papers.

    Args:
        num_classes, in_features: number of classes C and dimension D of the embeddings.
        centers_per_class: proxies a class, K ≥ 1.
        space: where embeddings and proxies live; None is Euclidean. A hyperbolic space in its "tangent" or
            "lorentz" chart: the proxies are learned, and the ball has a boundary.
        gamma, scale, margin: as in `geomdml.losses.functional.soft_triple`, in the unit of the distances.
        relative: measure distances in units of their mean over the batch.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError, TypeError: sizes below 1, a space in its "ball" chart, labels outside 0…C−1, embeddings of another
            dimension.

    Source: Qian et al., "SoftTriple loss" (2019); CHEST (arXiv 2510.05643) section 3.3.

    >>> import torch
    >>> from geomdml.spaces import Hyperbolic
    >>> loss = SoftTripleLoss(5, 8, centers_per_class=2, space=Hyperbolic(c=0.5))
    >>> loss(torch.randn(4, 8), torch.tensor([0, 1, 2, 3])).ndim
    0
    >>> loss.logits(torch.randn(4, 8)).shape
    torch.Size([4, 5])
    """

    def __init__(
        self,
        num_classes: int,
        in_features: int,
        *,
        centers_per_class: int = 2,
        space: Space | None = None,
        gamma: float = 0.2,
        scale: float = 20.0,
        margin: float = 0.1,
        relative: bool = True,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.space = in_unbounded_chart(Euclidean() if space is None else space)
        self.proxies = Proxies(num_classes, in_features, centers_per_class=centers_per_class, radius=1.0)
        self.gamma, self.scale, self.margin = gamma, scale, margin
        self.relative, self.reduction = relative, reduction

    @compares_with_proxies
    def forward(self, embeddings: Float[Tensor, "B D"], labels: Int[Tensor, " B"] | Float[Tensor, "B C"]) -> Tensor:
        """The loss of a batch. Of pytorch-metric-learning's other arguments, all but None is refused."""
        return soft_triple(
            self._distances(embeddings),
            labels,
            gamma=self.gamma,
            scale=self.scale,
            margin=self.margin,
            reduction=self.reduction,
        )

    def logits(self, embeddings: Float[Tensor, "B D"]) -> Float[Tensor, "B C"]:
        """scale·S: what the loss takes the embeddings for, by the proxies as classifier and without margin."""
        return self.scale * soft_triple_similarity(self._distances(embeddings), gamma=self.gamma)

    def _distances(self, embeddings: Tensor) -> Tensor:
        dist = self.proxies.distances(embeddings, self.space)
        return in_mean_units(dist) if self.relative else dist
