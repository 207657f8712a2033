"""SoftTriple loss in any space."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from geomdml._core.processes import Group
from geomdml.losses._class_sampling import Others
from geomdml.losses._mined import compares_with_proxies
from geomdml.losses._over_shards import columns_of_all, in_mean_units, soft_triple
from geomdml.losses.functional import Reduction, soft_triple_similarity
from geomdml.losses.sharded_proxies import make_proxies
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
        sample, others: share of the classes that a training batch is compared with, and which: see `Proxies`. The mean
            distance of `relative` is then that to these classes.
        shards: True divides the classes among all processes, a group among its own, and False gives each process all.
            They are called with the same embeddings (`geomdml.distributed.DistributedLoss`).

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
        sample: float = 1.0,
        others: Others = "random",
        shards: Group | bool = False,
    ) -> None:
        super().__init__()
        self.space = in_unbounded_chart(Euclidean() if space is None else space)
        sizes = {"num_classes": num_classes, "in_features": in_features, "centers_per_class": centers_per_class}
        self.proxies = make_proxies(**sizes, radius=1.0, sample=sample, others=others, shards=shards)
        self.gamma, self.scale, self.margin = gamma, scale, margin
        self.relative, self.reduction = relative, reduction

    @compares_with_proxies
    def forward(self, embeddings: Float[Tensor, "B D"], labels: Int[Tensor, " B"] | Float[Tensor, "B C"]) -> Tensor:
        """The loss of a batch. Of pytorch-metric-learning's other arguments, all but None is refused."""
        picked = self.proxies.pick(labels)
        return soft_triple(
            self._distances(embeddings, picked.vectors),
            picked.labels,
            gamma=self.gamma,
            scale=self.scale,
            margin=self.margin,
            reduction=self.reduction,
            group=self.proxies.group,
        )

    def logits(self, embeddings: Float[Tensor, "B D"]) -> Float[Tensor, "B C"]:
        """scale·S: what the loss takes the embeddings for, by the proxies as classifier and without margin."""
        distances = self._distances(embeddings, self.proxies.vectors)
        logits = self.scale * soft_triple_similarity(distances, gamma=self.gamma)
        return columns_of_all(logits, self.proxies.group)

    def _distances(self, embeddings: Tensor, proxies: Tensor) -> Tensor:
        dist = self.proxies.distances(embeddings, self.space, mapped=proxies)
        return in_mean_units(dist, self.proxies.group) if self.relative else dist
