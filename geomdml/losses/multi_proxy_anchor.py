"""Proxy anchor with several proxies a class, in any space."""

from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from geomdml.losses._mined import compares_with_proxies
from geomdml.losses._over_shards import proxy_anchor
from geomdml.losses.functional import soft_triple_similarity
from geomdml.losses.soft_triple import SoftTripleLoss
from geomdml.spaces import Space

__all__ = ["MultiProxyAnchorLoss"]


class MultiProxyAnchorLoss(SoftTripleLoss):
    """Proxy anchor loss of the similarity to the K proxies of a class, s = 1 − d, d their soft minimum of distances.

    The proxies and their soft minimum are those of `SoftTripleLoss`. Distances are in units of their mean over the
    batch: s is above 0 for what is nearer than the average, as a cosine is. K = 1 is proxy anchor in that similarity.

    Args:
        num_classes, in_features, space: as for `SoftTripleLoss`.
        scale, margin: λ and δ of `geomdml.losses.functional.proxy_anchor`. Their defaults are for these similarities,
            which spread less than the cosines that the paper's 32 and 0.1 are for.
        options: centers_per_class, gamma, sample, others and shards, as for `SoftTripleLoss`.

    Raises:
        ValueError, TypeError: as `SoftTripleLoss`.

    Source: our reading of the multi-proxies anchor loss (MPA) of Saeki et al. (arXiv 2110.03997): proxy anchor, Kim et
    al. (2020), of the class similarity of SoftTriple, Qian et al. (2019). That paper's equations were not at hand, and
    nothing here was compared with them.

    >>> import torch
    >>> loss = MultiProxyAnchorLoss(5, 8, centers_per_class=2)
    >>> loss(torch.randn(4, 8), torch.tensor([0, 1, 2, 3])).shape
    torch.Size([])
    """

    def __init__(
        self,
        num_classes: int,
        in_features: int,
        *,
        space: Space | None = None,
        scale: float = 8.0,
        margin: float = 0.5,
        **options: Any,
    ) -> None:
        fixed: dict[str, Any] = {"relative": True, "reduction": "mean"}
        super().__init__(num_classes, in_features, space=space, scale=scale, margin=margin, **fixed, **options)

    @compares_with_proxies
    def forward(self, embeddings: Float[Tensor, "B D"], labels: Int[Tensor, " B"]) -> Float[Tensor, ""]:
        """The loss of a batch. Of pytorch-metric-learning's other arguments, all but None is refused."""
        picked = self.proxies.pick(labels)
        similarity = 1 + soft_triple_similarity(self._distances(embeddings, picked.vectors), gamma=self.gamma)
        settings = {"scale": self.scale, "margin": self.margin}
        return proxy_anchor(similarity, picked.labels, **settings, group=self.proxies.group)
