"""The matrices of distances by the kernels in C (`geomdml/_native/all_pairs.c`): float32 points on the CPU.

Kept for the backward pass is s, in float32. There, pairs of nearly the same direction are taken one at a time; the
others go through products of matrices, in float32 unless too many pairs are near.
"""

import ctypes
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from geomdml import _native
from geomdml._core import autograd
from geomdml._core.numerics import wide
from geomdml._native import CHARTS, FACTS, HARD, NO_MEMORY, NOT_ORDINARY, NOTHING

SOFT, NEAR = 1e-3, 1e-8  # of s: below, a product in float32 or float64 would lose digits
FEW = 0.01  # of all pairs: so many may be taken one at a time
BLOCK = 1024  # points at a time: what is made of them stays in the caches
SMALL = 2**18  # B P D, below which calls cost more than arithmetic

_points = _native.declare("points", "piiidpppp", "i")
_tile = _native.declare("tile", "ppippiiidiipipipi", "i")
_count = _native.declare("count", "pidp")
_weights = {
    torch.float64: _native.declare("weights", "ppippiiidiipiipiddpipppp"),
    torch.float32: _native.declare("weights_single", "ppippiiidiipiipiddpipppp"),
}
_gradient = {
    torch.float64: _native.declare("gradient", "ppiidpdppp"),
    torch.float32: _native.declare("gradient_single", "ppiidpdppp"),
}
_small = _native.declare("small", "pipiiidpp", "i")
_small_gradient = _native.declare("small_gradient", "pipiiidpiippp", "i")


def takes(x: Tensor, y: Tensor) -> bool:
    """Whether the kernels take lists of points."""
    return _native.take(x, y) and not autograd.in_forward_mode() and x.numel() > 0 < y.numel()


class Points(NamedTuple):
    """Points (N, D), and in float64 what the kernels know of each."""

    x: Tensor
    facts: Tensor  # (FACTS, N)
    vectors: Tensor  # (N, D)

    @classmethod
    def of(cls, chart: int, x: Tensor, c: float, scaled: torch.dtype | None = None) -> "Points | None":
        """With their unit vectors in float64, or these times min(1, sinh A) in the dtype `scaled`.

        None where a point is not ordinary.
        """
        (n, d), dtype = x.shape, scaled or torch.float64
        facts, vectors = x.new_empty((FACTS, n), dtype=torch.float64), x.new_empty((n, d), dtype=dtype)
        place = 0 if scaled is None else 1 if dtype == torch.float64 else 2
        out = [vectors.data_ptr() if i == place else None for i in range(3)]
        return cls(x, facts, vectors) if _points(x.data_ptr(), n, d, chart, c, facts.data_ptr(), *out) else None

    @property
    def given(self) -> tuple[int, int, int]:
        return self.x.data_ptr(), self.facts.data_ptr(), len(self.x)


class Sums:
    """What a side takes back from the pairs of each of its points."""

    def __init__(self, points: Points, singly: bool) -> None:
        self.points = points
        self.turn = torch.zeros_like(points.vectors)
        self.slopes = points.facts.new_zeros((2, len(points.x)))
        self.single = points.facts.new_zeros(points.x.shape) if singly else None

    @classmethod
    def of(cls, chart: int, x: Tensor, c: float, dtype: torch.dtype, singly: bool) -> "Sums":
        points = Points.of(chart, x, c, dtype)
        assert points is not None  # they were ordinary in the forward pass
        return cls(points, singly)

    def write(self, out: Tensor, c: float, scale: float) -> None:
        (n, d), single = out.shape, None if self.single is None else self.single.data_ptr()
        x, facts, _ = self.points.given
        turn = self.turn.data_ptr()
        _gradient[self.turn.dtype](x, facts, n, d, c, turn, scale, self.slopes.data_ptr(), single, out.data_ptr())


def distances(
    name: str, value: Callable[[Tensor, Tensor, Tensor], Tensor], x: Tensor, y: Tensor, c: Tensor, keep: bool
) -> tuple[Tensor, Tensor] | None:
    """(B, P) distances and, to `keep`, s; None where a point is not ordinary. x and y are contiguous, and not empty."""
    result = x.new_empty((len(x), len(y)))
    kept = torch.empty_like(result) if keep else NOTHING
    hard = _fill(CHARTS[name], x, y, float(c), result, kept)
    if hard is None:
        return None
    if hard:
        i, j = result.isnan().nonzero(as_tuple=True)
        result[i, j] = value(wide(x[i]), wide(y[j]), c).to(result)
    return result, kept


def _fill(chart: int, x: Tensor, y: Tensor, c: float, result: Tensor, kept: Tensor) -> int | None:
    """Writes distances and s; the number of pairs that are left to the chart, or None where a point is not ordinary."""
    (b, d), p, step = x.shape, len(y), kept.element_size() if len(kept) else 0
    if b * p * d <= SMALL:
        hard = _small(x.data_ptr(), b, y.data_ptr(), p, d, chart, c, result.data_ptr(), kept.data_ptr() or None)
        return _told(hard) if hard != NOT_ORDINARY else None
    rows, hard = [(i, Points.of(chart, x[i], c)) for i in _blocks(x)], 0
    for j in _blocks(y):
        column = Points.of(chart, y[j], c)
        for i, row in rows:
            if row is None or column is None:
                return None
            cosine, at = row.vectors @ column.vectors.T, (i.start * p + j.start)
            given = *row.given, *column.given, d, chart, c
            into = result.data_ptr() + at * result.element_size(), p, kept.data_ptr() + at * step or None, p
            tile = partial(_fill_tile, given, cosine, into)
            hard += sum(_native.shared(tile, *cosine.shape))
    return hard


def _fill_tile(given: tuple[Any, ...], cosine: Tensor, into: tuple[Any, ...], first: int, last: int) -> int:
    return _tile(*given, first, last, cosine.data_ptr(), cosine.shape[1], *into)


def gradients(
    name: str,
    gradient: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]],
    g: Tensor,
    x: Tensor,
    y: Tensor,
    c: Tensor,
    kept: Tensor,
) -> tuple[Tensor, Tensor]:
    """The gradient of `distances` by x and y. That by c needs more digits of s than are kept."""
    by_x, by_y = torch.empty_like(x), torch.empty_like(y)
    if _fill_gradients(CHARTS[name], g, x, y, float(c), kept, by_x, by_y):
        i, j = (kept == HARD).nonzero(as_tuple=True)
        singly_x, singly_y, _ = gradient(wide(g[i, j]), wide(x[i]), wide(y[j]), c)
        by_x.index_add_(0, i, singly_x.to(by_x))
        by_y.index_add_(0, j, singly_y.to(by_y))
    return by_x, by_y


def _fill_gradients(
    chart: int, g: Tensor, x: Tensor, y: Tensor, c: float, kept: Tensor, by_x: Tensor, by_y: Tensor
) -> int:
    """Writes the gradients; the number of pairs that are left to the chart."""
    (b, d), p = x.shape, len(y)
    if b * p * d <= SMALL:
        given = x.data_ptr(), b, y.data_ptr(), p, d, chart, c, g.data_ptr(), *g.stride()
        return _told(_small_gradient(*given, kept.data_ptr(), by_x.data_ptr(), by_y.data_ptr()))
    counts = (ctypes.c_int64 * 2)()
    _count(kept.data_ptr(), kept.numel(), SOFT, counts)
    soft, hard = counts
    scale = float(torch.linalg.vector_norm(g[:1, :1] if g.stride() == (0, 0) else g, torch.inf))
    few = soft <= FEW * kept.numel() and 0 < scale < torch.inf
    dtype, below, scale = (torch.float32, SOFT, scale) if few else (torch.float64, NEAR, 1.0)
    rows = [(i, Sums.of(chart, x[i], c, dtype, soft > 0)) for i in _blocks(x)]
    for j in _blocks(y):
        column = Sums.of(chart, y[j], c, dtype, soft > 0)
        for i, row in rows:
            _add(row, column, g[i, j], kept[i, j], chart, c, below, scale)
        column.write(by_y[j], c, scale)
    for i, row in rows:
        row.write(by_x[i], c, scale)
    return hard


def _told(hard: int) -> int:
    if hard == NO_MEMORY:
        raise MemoryError("no memory for the distances of few pairs")
    return hard


def _add(row: Sums, column: Sums, g: Tensor, kept: Tensor, chart: int, c: float, soft: float, scale: float) -> None:
    """Adds the pairs of a tile to the sums of both sides."""
    weights, d = g.new_empty(g.shape, dtype=row.turn.dtype), row.turn.shape[1]
    given = *row.points.given, *column.points.given, d, chart, c

    def fill(first: int, last: int) -> Tensor:
        slopes = torch.zeros_like(column.slopes)
        _weights[weights.dtype](
            *given, first, last, g.data_ptr(), *g.stride(), kept.data_ptr(), kept.stride(0), soft, scale,
            weights.data_ptr(), weights.shape[1], row.slopes.data_ptr(), slopes.data_ptr(),
            None if row.single is None else row.single.data_ptr(),
            None if column.single is None else column.single.data_ptr(),
        )  # fmt: skip
        return slopes

    for slopes in [fill(0, len(g))] if row.single is not None else _native.shared(fill, *g.shape):
        column.slopes += slopes
    row.turn.addmm_(weights, column.points.vectors)
    column.turn.addmm_(weights.T, row.points.vectors)


def _blocks(points: Tensor) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, len(points), BLOCK))
