"""Which distances are equal: the one rule of scores and search, whatever route the distances came by.

Float32 distances are computed with more digits and rounded, which almost always hides how they were computed. Float64
distances show it: a tile of a matrix product, a formula for all pairs and one for single pairs differ in the last bits.
So float64 distances that agree to 1e-13 of their size count as equal. The routes agree to about 1e-14, and different
distances rarely come so close.
"""

import torch
from torch import Tensor

__all__ = ["bounds", "tied"]

_TOLERANCE = 1e-13


def bounds(distances: Tensor) -> tuple[Tensor, Tensor]:
    """(low, high): the least and the largest distance that is equal to each."""
    if distances.dtype != torch.float64:
        return distances, distances
    return distances * (1 - _TOLERANCE), distances * (1 + _TOLERANCE)


def tied(distances: Tensor) -> Tensor:
    """The distances of each row, those that are equal made exactly so: each as the least of them.

    >>> tied(torch.tensor([[0.3, 0.1, 0.1 * (1 + 1e-15)]], dtype=torch.float64))[0, 1:].unique().numel()
    1
    """
    if distances.dtype != torch.float64 or not distances.numel():
        return distances
    ascending, order = distances.sort(dim=1)
    begins = torch.arange(distances.shape[1], device=distances.device).expand_as(order).clone()
    begins[:, 1:].masked_fill_(ascending[:, 1:] <= bounds(ascending[:, :-1])[1], 0)
    return torch.empty_like(distances).scatter_(1, order, ascending.gather(1, begins.cummax(1).values))
