"""The loss that embeds a taxonomy, in any space."""

from jaxtyping import Float
from torch import Tensor, nn

from geomdml.losses.functional import Reduction, closure
from geomdml.spaces import Euclidean, Space

__all__ = ["ClosureLoss"]


class ClosureLoss(nn.Module):
    """Each node should be nearer to an ancestor of it than to nodes that are no ancestors, drawn for it.

    Args:
        space: where the embeddings live; None is Euclidean.
        temperature: T > 0, in the unit of the distances; the paper has 1.
        reduction: "mean", "sum" or "none" over the nodes.

    Raises:
        ValueError, TypeError: as `geomdml.losses.functional.closure`, and from the space's `dist`.

    Source: Nickel and Kiela, "Poincaré embeddings for learning hierarchical representations" (2017), equation (6).

    >>> import torch
    >>> from geomdml.spaces import Hyperbolic
    >>> nodes, candidates = torch.randn(6, 5), torch.randn(6, 1 + 10, 5)  # an ancestor each, then ten that are none
    >>> ClosureLoss(space=Hyperbolic(c=1.0))(nodes, candidates).shape
    torch.Size([])
    """

    def __init__(self, *, space: Space | None = None, temperature: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.space = Euclidean() if space is None else space
        self.temperature, self.reduction = temperature, reduction

    def forward(self, nodes: Float[Tensor, "B D"], candidates: Float[Tensor, "B N D"]) -> Tensor:
        """The loss of nodes against their candidates, an ancestor first and then nodes that are none."""
        dist = self.space.dist(nodes.unsqueeze(1), candidates)
        return closure(dist, temperature=self.temperature, reduction=self.reduction)
