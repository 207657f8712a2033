"""All pairs of two lists, for batches of lists."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor


def over_batches(pairwise: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Lets a function of (B, D) and (P, D) take (..., B, D) and (..., P, D): the leading dimensions broadcast.

    List by list, so that a pair has the same bits in a batch as alone.
    """

    @wraps(pairwise)
    def function(*points: Tensor, **options: Any) -> Tensor:
        dims = [x.ndim if isinstance(x, Tensor) else 0 for x in points]
        if len(points) != 2 or min(dims) < 2 or max(dims) == 2:
            return pairwise(*points, **options)
        x, y = points
        try:
            lead = torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        except RuntimeError:
            raise ValueError(
                f"leading dimensions of shapes {tuple(x.shape)} and {tuple(y.shape)} do not broadcast; "
                "expected (..., B, D) and (..., P, D)"
            ) from None
        lists = [z.expand(*lead, *z.shape[-2:]).reshape(lead.numel(), *z.shape[-2:]) for z in (x, y)]
        if not lead.numel():
            empty = pairwise(*(z.new_zeros(z.shape[1:]) for z in lists), **options)
            return empty.new_empty((*lead, *empty.shape))
        together = torch.stack([pairwise(a, b, **options) for a, b in zip(*lists, strict=True)])
        return together.reshape(*lead, *together.shape[1:])

    return function
