"""What the rest of the library asks of a space."""

from typing import Protocol, runtime_checkable

from torch import Tensor

__all__ = ["Space"]


@runtime_checkable
class Space(Protocol):
    """What the rest of the library asks of a space."""

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """(..., D), (..., D) to (...): distances one to one."""

    def pairwise_dist(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, D), (P, D) to (B, P): distances of all pairs."""
