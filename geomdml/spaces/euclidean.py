"""Euclidean space."""

from jaxtyping import Float
from torch import Tensor

from geomdml import euclidean

__all__ = ["Euclidean"]


class Euclidean:
    """Euclidean space.

    >>> import torch
    >>> Euclidean().dist(torch.zeros(2), torch.tensor([3.0, 4.0]))
    tensor(5.)
    """

    def dist(self, x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch"]:
        """See `geomdml.euclidean.dist`."""
        return euclidean.dist(x, y)

    def pairwise_dist(
        self, x: Float[Tensor, "*#batch B D"], y: Float[Tensor, "*#batch P D"]
    ) -> Float[Tensor, "*#batch B P"]:
        """See `geomdml.euclidean.pairwise_dist`."""
        return euclidean.pairwise_dist(x, y)

    def __repr__(self) -> str:
        return "Euclidean()"
