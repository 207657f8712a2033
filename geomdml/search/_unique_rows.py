"""Which points of a list are equal, by a hash of their bits: to sort the points themselves is slow for millions."""

import torch
from torch import Tensor

ENTRIES = 2**22  # numbers at a time
BITS = {torch.float32: torch.int32, torch.float64: torch.int64}


def distinct(points: Tensor) -> tuple[Tensor, Tensor]:
    """(first, which): the index where each distinct point first occurs, and for each point which of these it is.

    The distinct points come in an order that depends on them alone, not on how the list was stored. 0 and −0 are equal.

    Args:
        points: (P, D) float32 or float64.

    Returns:
        (N,) and (P,) indices: `points[first][which]` is `points`.

    Source: hashing by multiplication and folding; every point is compared with its first, so no collision goes unseen.

    >>> distinct(torch.tensor([[3.0], [1.0], [3.0]]))[0].sort().values
    tensor([0, 1])
    """
    keys = torch.cat([_key(block) for block in _blocks(points)]) if len(points) else points.new_empty(0).long()
    values, which = torch.unique(keys, return_inverse=True)
    first = _first(which, len(values))
    same = (
        torch.equal(block, points[at]) for block, at in zip(_blocks(points), _blocks(first[which], points), strict=True)
    )
    if not all(same):
        values, which = torch.unique(points, dim=0, return_inverse=True)
        first = _first(which, len(values))
    return first, which


def _first(which: Tensor, count: int) -> Tensor:
    index = torch.arange(len(which), device=which.device)
    return index.new_full((count,), len(which)).scatter_reduce_(0, which, index, "amin")


def _key(points: Tensor) -> Tensor:
    """An int64 of the bits of each row. Products alone would keep trailing zeros, which whole numbers have many of."""
    draw = torch.Generator().manual_seed(1)
    factors = torch.randint(-(2**63), 2**63 - 1, (2, points.shape[1]), generator=draw).to(points.device) | 1
    bits = (points + 0.0).view(BITS[points.dtype]).long() * factors[0]
    return ((bits ^ (bits >> 32)) * factors[1]).sum(1)


def _blocks(points: Tensor, like: Tensor | None = None) -> tuple[Tensor, ...]:
    width = (points if like is None else like).shape[1]
    return points.split(max(1, ENTRIES // width))
