"""Distances one to one by the kernels in C (`geomdml/_native/one_to_one.c`): float32 points on the CPU."""

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from geomdml import _native
from geomdml._core import autograd
from geomdml._core.numerics import wide
from geomdml._native import CHARTS, FACTS, LANES, NOT_ORDINARY, NOTHING, UNTABLED

_table = _native.declare("table", "piiidppp", "i")
_pairs = _native.declare("pairs", "ppiiiiiidpp", "i")
_pairs_gradient = _native.declare("pairs_gradient", "ppiiiiipiippp")


class Grid(NamedTuple):
    """Pairs in n1 rows of n2, of which pair (i, k) is that of the points i·a + k·b of either side."""

    shape: tuple[int, ...]  # of all pairs
    n1: int
    n2: int
    a: tuple[int, int]
    b: tuple[int, int]


@lru_cache(maxsize=256)
def grid(x: torch.Size, y: torch.Size) -> Grid | None:
    """The pairs of points whose leading dimensions broadcast; None where two numbers do not count them."""
    merged: list[tuple[int, tuple[int, int]]] = []  # sizes and steps, from the last on
    counts, rank = (1, 1), max(len(x), len(y))
    shape: list[int] = []
    for n_x, n_y in zip(*((*reversed(z), *(1,) * (rank - len(z))) for z in (x, y)), strict=True):
        size, step = max(n_x, n_y), (counts[0] * (n_x > 1), counts[1] * (n_y > 1))
        shape.insert(0, size)
        counts = counts[0] * n_x, counts[1] * n_y
        if size == 1:
            continue
        inner, of_inner = merged[-1] if merged else (0, (0, 0))
        if inner and step == (inner * of_inner[0], inner * of_inner[1]):
            merged[-1] = inner * size, of_inner
        else:
            merged.append((size, step))
    if len(merged) > 2:
        return None
    (n2, b), (n1, a) = [*merged, (1, (0, 0)), (1, (0, 0))][:2]
    return Grid(tuple(shape), n1, n2, a, b)


def takes(x: Tensor, y: Tensor) -> bool:
    """Whether the kernels take points whose leading dimensions broadcast."""
    if not _native.take(x, y) or autograd.in_forward_mode() or not (x.numel() and y.numel()):
        return False
    return grid(x.shape[:-1], y.shape[:-1]) is not None


def distances(
    name: str, value: Callable[[Tensor, Tensor, Tensor], Tensor], x: Tensor, y: Tensor, c: Tensor, keep: bool
) -> tuple[Tensor, ...] | None:
    """Distances; to `keep`, what their gradient is made of, and which pairs are left out of it, if any.

    None where a point is not ordinary. x and y are contiguous.
    """
    pairs, chart, number, d = grid(x.shape[:-1], y.shape[:-1]), CHARTS[name], float(c), x.shape[-1]
    assert pairs is not None
    tables = [_tabulate(z, pairs, chart, number) for z in (x, y)]
    if tables[0] is None or tables[1] is None:
        return None
    result = x.new_empty(pairs.shape)
    kept = x.new_empty((3, *pairs.shape), dtype=torch.float64) if keep else NOTHING
    sides = _side(x, tables[0], pairs, 0), _side(y, tables[1], pairs, 1)
    into = result.data_ptr(), kept.data_ptr() or None

    def measure(first: int, last: int) -> int:
        return _pairs(*sides, pairs.n1, pairs.n2, first, last, d, chart, number, *into)

    found = _native.shared(measure, pairs.n1, pairs.n2)
    if NOT_ORDINARY in found:
        return None
    hard = result.isnan() if any(found) else NOTHING
    if any(found):
        result[hard] = value(*_points(hard, x, y), c).to(result)
    return result, kept, hard


def gradients(
    gradient: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]],
    g: Tensor,
    x: Tensor,
    y: Tensor,
    c: Tensor,
    kept: Tensor,
    hard: Tensor,
) -> tuple[Tensor, Tensor]:
    """The gradient of `distances` by x and y."""
    pairs, d = grid(x.shape[:-1], y.shape[:-1]), x.shape[-1]
    assert pairs is not None
    uniform = not any(g.stride())  # as the gradient of a sum is
    g, steps = (g, (0, 0)) if uniform else (g.contiguous(), (pairs.n2, 1))
    places = [_place(z, pairs) for z in (x, y)]
    sides = _side(x, NOTHING, pairs, 0), _side(y, NOTHING, pairs, 1)
    into = [(ctypes.c_void_p * 2)(*(None if z is None else z.data_ptr() for z in place)) for place in places]

    def fill(first: int, last: int) -> None:
        _pairs_gradient(*sides, pairs.n1, pairs.n2, first, last, d, g.data_ptr(), *steps, kept.data_ptr(), *into)

    if all(pairs.a):
        _native.shared(fill, pairs.n1, pairs.n2)
    else:  # rows would add to the same points
        fill(0, pairs.n1)
    by_x, by_y = (_in_place(z, *place) for z, place in zip((x, y), places, strict=True))
    if hard.numel():
        singles = gradient(wide(g[hard]), *_points(hard, x, y), c)
        for by, single in ((by_x, singles[0]), (by_y, singles[1])):
            numbers = torch.arange(by.numel() // d, device=by.device).view(by.shape[:-1]).expand_as(hard)[hard]
            by.view(-1, d).index_add_(0, numbers, single.to(by))
    return by_x, by_y


def _once(x: Tensor, pairs: Grid) -> bool:
    return x.numel() == pairs.n1 * pairs.n2 * x.shape[-1]


def _tabulate(x: Tensor, pairs: Grid, chart: int, c: float) -> Tensor | None:
    """What the kernels know of points, (FACTS + D, N); nothing where it is found on the way, None if not ordinary."""
    d = x.shape[-1]
    if _once(x, pairs) and d <= UNTABLED:
        return NOTHING
    n = x.numel() // d
    table, room = x.new_empty((FACTS + d, n), dtype=torch.float64), x.new_empty((d, LANES), dtype=torch.float64)
    place = table.data_ptr()
    ordinary = _table(x.data_ptr(), n, d, chart, c, place, place + FACTS * n * 8, room.data_ptr())
    return table if ordinary else None


def _side(x: Tensor, table: Tensor, pairs: Grid, which: int) -> Any:
    """As `Side` in C."""
    n, place = x.numel() // x.shape[-1], table.data_ptr()
    unit = place + FACTS * n * 8 if place else 0
    return (ctypes.c_int64 * 6)(x.data_ptr(), place, unit, n, pairs.a[which], pairs.b[which])


def _place(x: Tensor, pairs: Grid) -> tuple[Tensor | None, Tensor | None]:
    """Where the gradient by a side goes: as `Gradient` in C."""
    if _once(x, pairs):
        return torch.empty_like(x), None
    return None, x.new_zeros((x.shape[-1], x.numel() // x.shape[-1]), dtype=torch.float64)


def _in_place(x: Tensor, whole: Tensor | None, sums: Tensor | None) -> Tensor:
    if whole is not None:
        return whole
    assert sums is not None
    return sums.T.to(x.dtype).contiguous().view(x.shape)


def _points(chosen: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    of_x, of_y = (wide(z.expand(*chosen.shape, z.shape[-1])[chosen]) for z in (x, y))
    return of_x, of_y
