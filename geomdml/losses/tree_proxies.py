"""Proxies for the classes and for the nodes of a tree above them, in any space."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor, nn

from geomdml._core import checks
from geomdml.class_trees import class_labels
from geomdml.losses._mined import compares_with_proxies
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

    own: Tensor  # (C, L) where the ancestor of each class is among the nodes of each level
    nodes: Tensor  # those of all levels, one level after another

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
        levels = class_labels(parents)
        nodes, own = zip(*(column.unique(return_inverse=True) for column in levels.unbind(1)), strict=True)
        self.sizes = [len(each) for each in nodes]  # known here: to ask a GPU for them in each step is to wait for it
        self.register_buffer("nodes", torch.cat(nodes), persistent=False)
        self.register_buffer("own", torch.stack(own, 1), persistent=False)
        self.space = in_unbounded_chart(Euclidean() if space is None else space)
        self.proxies = nn.Parameter(torch.randn(len(parents), in_features) * (float(radius) / in_features**0.5))
        self.scale, self.margin, self.weight, self.place = scale, margin, weight, place

    @torch.no_grad()
    def start_at(self, embeddings: Float[Tensor, "B D"], labels: Int[Tensor, " B"]) -> None:
        """Put each proxy at the mean of the embeddings below it; one without any stays where it is."""
        of_class = checks.labels(len(embeddings), len(self.own), device=self.own.device, labels=labels)
        for nodes, own in self._levels():
            node = nodes[own[of_class]]
            sums = torch.zeros_like(self.proxies).index_add_(0, node, embeddings.to(self.proxies))
            count = node.bincount(minlength=len(self.proxies)).unsqueeze(1)
            self.proxies.copy_(torch.where(count > 0, sums / count.clamp(min=1), self.proxies))

    @compares_with_proxies
    def forward(self, embeddings: Float[Tensor, "B D"], labels: Int[Tensor, " B"]) -> Float[Tensor, ""]:
        """The loss of a batch. Of pytorch-metric-learning's other arguments, all but None is refused."""
        classes = checks.labels(len(embeddings), len(self.own), device=embeddings.device, labels=labels)
        proxies = self.proxies if self.place is None else self.place(self.proxies)
        dist = in_mean_units(self.space.pairwise_dist(embeddings, proxies))
        total = dist.new_zeros(())
        for nodes, own in self._levels():
            at_level = dist[:, nodes].unsqueeze(2)
            total = total + soft_triple(at_level, own[classes], gamma=1.0, scale=self.scale, margin=self.margin)
        total = total / len(self.sizes)
        return total if self.weight == 0 or len(self.sizes) == 1 else total + self.weight * self._closure(proxies)

    def _levels(self) -> list[tuple[Tensor, Tensor]]:
        """The nodes of each level, and where among them the ancestor of each class is."""
        return list(zip(self.nodes.split(self.sizes), self.own.unbind(1), strict=True))

    def _closure(self, proxies: Tensor) -> Tensor:
        *above, _ = self._levels()
        inner = torch.cat([nodes for nodes, _ in above])
        dist = in_mean_units(self.space.pairwise_dist(proxies[: len(self.own)], proxies[inner]))
        total = dist.new_zeros(())
        for (nodes, own), part in zip(above, dist.split(self.sizes[:-1], 1), strict=True):
            turned = (own.unsqueeze(1) + torch.arange(len(nodes), device=own.device)) % len(nodes)  # the ancestor first
            total = total + closure(part.gather(1, turned), temperature=1 / self.scale)
        return total / len(above)
