"""geoopt lets vectors lie in any dimension; the functions of this library have them in the last."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor


def along(function: Callable[..., Tensor], dim: int, vectors: Sequence[Tensor], c: Tensor, **options: Any) -> Tensor:
    """function(*vectors, c=c), of vectors in the dimension `dim`, and a result in it; c of one or more curvatures."""
    return _call(function, dim, vectors, c, **options).movedim(-1, dim)


def reduced(
    function: Callable[..., Tensor], dim: int, keepdim: bool, vectors: Sequence[Tensor], c: Tensor, **options: Any
) -> Tensor:
    """As `along`, where the result is a number for each vector."""
    result = _call(function, dim, vectors, c, **options)
    return result.unsqueeze(-1).movedim(-1, dim) if keepdim else result


def number(t: float | Tensor, dim: int) -> float | Tensor:
    """A number for each vector, without the dimension that geoopt has it broadcast in.

    Raises:
        ValueError: it has several in that dimension.
    """
    if not isinstance(t, Tensor) or t.ndim == 0:
        return t
    if t.shape[dim] != 1:
        raise ValueError(f"a number for each vector has shape {tuple(t.shape)}; expected 1 in dimension {dim}")
    return t.squeeze(dim)


def _call(function: Callable[..., Tensor], dim: int, vectors: Sequence[Tensor], c: Tensor, **options: Any) -> Tensor:
    from_end = dim if dim < 0 else dim - max(x.ndim for x in vectors)
    several = c.reshape(()) if c.numel() == 1 else c.movedim(from_end, -1)
    return function(*(x.movedim(dim, -1) for x in vectors), c=several, **options)
