"""Which distances are equal: the one rule of scores and search, whatever route the distances came by.

A distance in float32 is computed in float64 and rounded, so that equal distances come out equal. One in float64 carries
the rounding of its route: of the place in a tile of a matrix product, of a formula for all pairs or for one. So
float64 distances that agree to 1e-13 of their size count as equal. The routes agree ten times better than that,
and distances that differ by accident are seldom so near: among 5,000 random ones, one pair in a million rows.
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
