"""Proxy anchor with several proxies a class, in any space."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from geomdml.losses._mined import compares_with_proxies
from geomdml.losses.functional import in_mean_units, proxy_anchor, soft_triple_similarity
from geomdml.losses.proxies import Proxies
from geomdml.spaces import Euclidean, Space, in_unbounded_chart

__all__ = ["MultiProxyAnchorLoss"]


class MultiProxyAnchorLoss(nn.Module):
    """Proxy anchor loss of the similarity to the K proxies of a class, s = 1 − d, d their soft minimum of distances.

    Distances are in units of their mean over the batch: s is above 0 for what is nearer than the average, as a cosine
    is. K = 1 is proxy anchor in that similarity.

    Args:
        num_classes, in_features: number of classes C and dimension D of the embeddings.
        centers_per_class: proxies a class, K ≥ 1.
        space: where embeddings and proxies live; None is Euclidean. A hyperbolic space in its "tangent" chart.
        gamma: softness of the minimum, in units of the mean distance.
        scale, margin: λ and δ of `geomdml.losses.functional.proxy_anchor`. Their defaults are for these similarities,
            which spread less than the cosines that the paper's 32 and 0.1 are for.

    Raises:
        ValueError, TypeError: sizes below 1, labels outside 0…C−1, embeddings of another dimension.

    Source: our reading of the multi-proxies anchor loss (MPA) of Saeki et al. (arXiv 2110.03997): proxy anchor, Kim et
    al. (2020), of the class similarity of SoftTriple, Qian et al. (2019). That paper's equations were not at hand, and
    nothing here was compared with them.

    >>> import torch
    >>> from geomdml.spaces import Hyperbolic
    >>> loss = MultiProxyAnchorLoss(5, 8, centers_per_class=2, space=Hyperbolic(c=0.5))
    >>> loss(torch.randn(4, 8), torch.tensor([0, 1, 2, 3])).shape
    torch.Size([])
    """

    def __init__(
        self,
        num_classes: int,
        in_features: int,
        *,
        centers_per_class: int = 2,
        space: Space | None = None,
        gamma: float = 0.2,
        scale: float = 8.0,
        margin: float = 0.5,
    ) -> None:
        super().__init__()
        self.space = in_unbounded_chart(Euclidean() if space is None else space)
        self.proxies = Proxies(num_classes, in_features, centers_per_class=centers_per_class, radius=1.0)
        self.gamma, self.scale, self.margin = gamma, scale, margin

    @compares_with_proxies
    def forward(self, embeddings: Float[Tensor, "B D"], labels: Int[Tensor, " B"]) -> Float[Tensor, ""]:
        """The loss of a batch. Of pytorch-metric-learning's other arguments, all but None is refused."""
        dist = self.proxies.distances(embeddings, self.space)
        similarity = 1 + soft_triple_similarity(in_mean_units(dist), gamma=self.gamma)
        return proxy_anchor(similarity, labels, scale=self.scale, margin=self.margin)
