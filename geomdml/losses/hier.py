"""HIER: a regulariser that finds a hierarchy of the data, in hyperbolic space."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from geomdml._core import checks
from geomdml._core.numerics import diagonal
from geomdml.losses._mined import compares_with_proxies
from geomdml.losses.functional import hierarchical_triplet
from geomdml.spaces import Hyperbolic, in_tangent_chart

__all__ = ["HIERLoss", "draw_ancestors", "draw_triplets"]


class HIERLoss(nn.Module):
    """Learned proxies stand for ancestors of embeddings and of each other; related points share the nearer ancestor.

    A triplet (i, j, k) has i and j among each other's nearest neighbours, k not. The lowest common ancestor of some
    points is drawn among the proxies ρ with odds exp(−max_x d(x, ρ)/T), its derivatives those of the softmax
    (straight through). The loss is `functional.hierarchical_triplet`, 0 where both ancestors are one proxy; triplets of
    embeddings and of proxies each give a mean, and these are added. Random numbers are torch's global generator's.

    Args:
        in_features: dimension D of the embeddings.
        space: hyperbolic, in the "tangent" chart.
        num_proxies: learned ancestors, P ≥ 2.
        neighbors: how many nearest neighbours, the point itself among them, count as related when they are mutual;
            embeddings of one class are nearer than all others.
        triplets_per_point: triplets drawn for each point that has a mutual neighbour.
        margin: δ, in the unit of the distances.
        temperature: T > 0, likewise.
        radius: the norm at which proxies start; the authors start them at 0.9 of their clipping radius 2.3.

    Raises:
        ValueError: a space in another chart, sizes below 1 (P below 2), T ≤ 0.

    Source: HIER, Kim et al. (CVPR 2023), read from the authors' public code, with its settings (the text was not at
    hand). There the proxies are clipped at 2.3, which this chart does not need, and a point can be its own third.

    >>> loss = HIERLoss(8, space=Hyperbolic(c=0.1), num_proxies=16)
    >>> loss(torch.randn(6, 8), torch.tensor([0, 0, 1, 1, 2, 2])).shape
    torch.Size([])
    """

    def __init__(
        self,
        in_features: int,
        *,
        space: Hyperbolic,
        num_proxies: int = 512,
        neighbors: int = 20,
        triplets_per_point: int = 50,
        margin: float = 0.1,
        temperature: float = 0.1,
        radius: float = 0.9 * 2.3,
    ) -> None:
        super().__init__()
        in_features, num_proxies = (
            checks.integer(1, in_features=in_features),
            checks.integer(2, num_proxies=num_proxies),
        )
        self.neighbors = checks.integer(2, neighbors=neighbors)
        self.triplets_per_point = checks.integer(1, triplets_per_point=triplets_per_point)
        checks.positive(temperature=temperature)
        self.space = in_tangent_chart(space)
        self.proxies = nn.Parameter(torch.randn(num_proxies, in_features) * (float(radius) / in_features**0.5))
        self.margin, self.temperature = margin, temperature

    @compares_with_proxies
    def forward(self, embeddings: Float[Tensor, "N D"], labels: Int[Tensor, " N"]) -> Float[Tensor, ""]:
        """The loss of a batch. Of pytorch-metric-learning's other arguments, all but None is refused."""
        labels = checks.labels(len(embeddings), device=embeddings.device, labels=labels)
        with torch.autocast(embeddings.device.type, enabled=False):
            with torch.no_grad():
                same = (labels.unsqueeze(1) == labels).to(torch.float32)
                related = torch.exp(-self.space.pairwise_dist(embeddings, embeddings)) + same
            among_proxies = self.space.pairwise_dist(self.proxies, self.proxies)
            to_proxies = self.space.pairwise_dist(embeddings, self.proxies)
            return self._mean(related, to_proxies) + self._mean(torch.exp(-among_proxies.detach()), among_proxies)

    def _mean(self, similarity: Float[Tensor, "N N"], to_proxies: Float[Tensor, "N P"]) -> Float[Tensor, ""]:
        """The mean loss over triplets of points with these similarities, at these distances from the proxies."""
        triplets, drawn = draw_triplets(similarity, self.neighbors, self.triplets_per_point)
        dist = to_proxies[triplets]
        pair = draw_ancestors(dist[:, :2].amax(1), self.temperature)
        triplet = draw_ancestors(dist.amax(1), self.temperature)
        loss = hierarchical_triplet(
            torch.einsum("mtp,mp->mt", dist, pair),
            torch.einsum("mtp,mp->mt", dist, triplet),
            margin=self.margin,
            reduction="none",
        )
        counted = drawn & (pair.argmax(1) != triplet.argmax(1))
        return (loss * counted).sum() / drawn.sum().clamp_min(1)


def draw_ancestors(farthest: Float[Tensor, "M P"], temperature: float) -> Float[Tensor, "M P"]:
    """One proxy a row, one-hot, drawn with odds exp(−farthest/T); the gradient is that of the softmax.

    >>> draw_ancestors(torch.tensor([[9.0, 0.0]]), 0.1)
    tensor([[0., 1.]])
    """
    return F.gumbel_softmax(-farthest / temperature, dim=1, hard=True)


def draw_triplets(
    similarity: Float[Tensor, "N N"], neighbors: int, per_point: int
) -> tuple[Int[Tensor, "M 3"], Bool[Tensor, " M"]]:
    """Triplets (i, j, k): i and j mutual among their `neighbors` most similar, k and i not; uniform, with repeats.

    Each point has as many, so that torch.compile knows their number. The second result is false for those that stand
    for nothing: of points without a mutual neighbour, or without any other point.

    >>> similarity = torch.tensor([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
    >>> draw_triplets(similarity, 2, 1)[0][:2]
    tensor([[0, 1, 2],
            [1, 0, 2]])
    >>> draw_triplets(similarity, 2, 1)[1]
    tensor([ True,  True, False])
    """
    nearest = similarity.topk(min(neighbors, len(similarity)), dim=1).indices
    near: Bool[Tensor, "N N"] = torch.zeros_like(similarity, dtype=torch.bool).scatter_(1, nearest, True)
    mutual = near & near.T & ~diagonal(near)
    others = ~mutual & ~diagonal(near)
    has_both = mutual.any(1, keepdim=True) & others.any(1, keepdim=True)
    positives, negatives = (
        torch.multinomial((kind | ~has_both).float(), per_point, replacement=True) for kind in (mutual, others)
    )
    anchors = torch.arange(len(similarity), device=similarity.device).unsqueeze(1).expand_as(positives)
    triplets = torch.stack([anchors, positives, negatives], dim=-1).flatten(0, 1)
    return triplets, has_both.expand_as(positives).flatten()
