"""Proxies for the classes and for the nodes of a tree above them, in any space."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor, nn

from geomdml._core import checks
from geomdml.class_trees import class_labels
from geomdml.losses.functional import closure, in_mean_units, soft_triple
from geomdml.spaces import Euclidean, Space, in_unbounded_chart

__all__ = ["TreeProxyLoss"]


class TreeProxyLoss(nn.Module):
    """Each embedding should be nearest to its proxy at every level of a tree, and each class proxy to its ancestors.

    The mean over the levels of `functional.soft_triple` with one proxy a node, plus `weight` times the mean over the
    levels above the classes of `functional.closure`, at temperature 1/scale: a class proxy against all nodes of the
    level, of which one is its ancestor. Without inner nodes it is `SoftTripleLoss` with one proxy a class. Distances
    are in units of their mean, those of embeddings and those among proxies each.

    Args:
        parents: (N,) the tree, see `geomdml.class_trees`.
        in_features: dimension D of the embeddings.
        space: where embeddings and proxies live; None is Euclidean. A hyperbolic space in its "tangent" or "lorentz"
            chart. With c near 0 it is the flat control.
        scale, margin: as in `functional.soft_triple`, in units of the mean distance.
        weight: of the closure term, ≥ 0.
        radius: the norm at which proxies start.
        place: a map of the proxies, such as the clipping that the embeddings go through; None leaves them.

    Raises:
        ValueError, TypeError: a `parents` that is no tree, a size below 1, a weight below 0, a space in its "ball"
            chart; from `forward`, labels outside 0…C−1, embeddings of another dimension.

    Source: our construction of SoftTriple, Qian et al. (2019), and the loss of Nickel and Kiela (2017), equation (6).

    >>> loss = TreeProxyLoss(torch.tensor([3, 3, 4, -1, -1]), 8)
    >>> loss(torch.randn(4, 8), torch.tensor([0, 1, 2, 2])).shape
    torch.Size([])
    """

    levels: Tensor

    def __init__(
        self,
        parents: Integer[Tensor, " N"],
        in_features: int,
        *,
        space: Space | None = None,
        scale: float = 20.0,
        margin: float = 0.1,
        weight: float = 1.0,
        radius: float = 1.0,
        place: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        in_features = checks.integer(1, in_features=in_features)
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight = {weight}; expected a finite number, none below 0")
        self.register_buffer("levels", class_labels(parents), persistent=False)
        self.space = in_unbounded_chart(Euclidean() if space is None else space)
        self.proxies = nn.Parameter(torch.randn(len(parents), in_features) * (float(radius) / in_features**0.5))
        self.scale, self.margin, self.weight, self.place = scale, margin, weight, place

    @torch.no_grad()
    def start_at(self, embeddings: Float[Tensor, "B D"], labels: Int[Tensor, " B"]) -> None:
        """Put each proxy at the mean of the embeddings below it; one without any stays where it is."""
        of_class = checks.labels(len(embeddings), len(self.levels), labels=labels)
        for column in self.levels.unbind(1):
            node = column[of_class]
            sums = torch.zeros_like(self.proxies).index_add_(0, node, embeddings.to(self.proxies))
            count = node.bincount(minlength=len(self.proxies)).unsqueeze(1)
            self.proxies.copy_(torch.where(count > 0, sums / count.clamp(min=1), self.proxies))

    def forward(self, embeddings: Float[Tensor, "B D"], labels: Int[Tensor, " B"]) -> Float[Tensor, ""]:
        """The loss of a batch."""
        checks.batch(embeddings=embeddings)
        classes = checks.labels(len(embeddings), len(self.levels), device=embeddings.device, labels=labels)
        proxies = self.proxies if self.place is None else self.place(self.proxies)
        dist = in_mean_units(self.space.pairwise_dist(embeddings, proxies))
        total = dist.new_zeros(())
        for column in self.levels.unbind(1):
            nodes, own = column.unique(return_inverse=True)
            at_level = dist[:, nodes].unsqueeze(2)
            total = total + soft_triple(at_level, own[classes], gamma=1.0, scale=self.scale, margin=self.margin)
        total = total / self.levels.shape[1]
        if self.weight == 0 or self.levels.shape[1] == 1:
            return total
        return total + self.weight * self._closure(proxies)

    def _closure(self, proxies: Tensor) -> Tensor:
        above = self.levels[:, :-1]
        dist = in_mean_units(self.space.pairwise_dist(proxies[: len(above)], proxies[above.unique()]))
        first, total = above.unique(), dist.new_zeros(())
        for column in above.unbind(1):
            nodes, own = column.unique(return_inverse=True)
            turned = (own.unsqueeze(1) + torch.arange(len(nodes), device=own.device)) % len(nodes)  # the ancestor first
            at = torch.searchsorted(first, nodes)[turned]
            total = total + closure(dist.gather(1, at), temperature=1 / self.scale)
        return total / above.shape[1]
