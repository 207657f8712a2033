"""Tiles of a distance matrix in pairs of float32, where float64 is missing (Apple's devices) or slow (consumer GPUs).

A number is kept as an unevaluated sum of two float32, 48 bits. What belongs to one point still comes in float64, from
the CPU if need be; only what is of size (B, P) is computed here. The formula is that of `geomdml._core.all_pairs`
divided by sinh A · sinh B, so that the small exponents of a float32 suffice:

    sinh(δ/2) = √(sinh A · sinh B) · h,   h² = s + r²,   r = (tanh(A/2) − tanh(B/2))/(2√(tanh(A/2) · tanh(B/2)))

The product of the unit vectors is exact to 44 bits: both are cut into slices of a few bits, whose products add up in
float32 without rounding, even in a matrix unit that keeps 11 bits of each factor (TF32). Source: Ozaki, Ogita, Oishi
and Rump, "Error-free transformations of matrix multiplication by using fast routines of matrix multiplication and its
applications" (2012).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from geomdml._core.all_pairs.rows import Rows, Slopes
from geomdml._core.exact import two_product, two_sum
from geomdml._core.numerics import result_dtype, wide

Pair = tuple[Tensor, Tensor]

LARGEST_RADIUS_FLOAT32 = 40.0  # sinh²(40) is a float32; beyond, δ grows by exactly what is cut off
NEAREST = 1e-25  # what is nearer to the origin is left to the distances one to one
TOLERATED = 1e-4  # so are pairs with s below this
BITS = 44
FAST_FLOAT64 = {(6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (10, 3)}  # compute capabilities of NVIDIA's data-centre GPUs

_forced: bool | None = None


@contextmanager
def two_floats(forced: bool) -> Iterator[None]:
    """Within the block, take this route to float32 results on every device (True) or on none (False)."""
    global _forced
    before, _forced = _forced, forced
    try:
        yield
    finally:
        _forced = before


def is_needed(x: Tensor, y: Tensor) -> bool:
    """Whether a result in float32 is asked of a device that lacks fast float64."""
    device = x.device
    if result_dtype(x, y) == torch.float64:
        return False
    if _forced is not None:
        return _forced
    if device.type == "cuda" and torch.version.hip is None:
        return torch.cuda.get_device_capability(device) not in FAST_FLOAT64
    return device.type == "mps"


class _Tile(NamedTuple):
    """The pieces of the formula for every pair of a row and a column."""

    s: Pair
    r: Pair
    h: Pair
    root: Pair  # √(sinh A · sinh B)
    w: Pair  # sinh(δ/2)
    near: Tensor  # not to be trusted

    @classmethod
    def of(cls, row: Rows, column: Rows, device: torch.device) -> "_Tile":
        (t, t_scale, t_root), (b, b_scale, b_root) = _factors(row.A, device), _factors(column.A.T, device)
        cosine = product(row.unit, column.unit, BITS, device)
        s = _halve(_plus_one((-cosine[0], -cosine[1])))
        r = _times(_add(t, (-b[0], -b[1])), _times(t_scale, b_scale))
        h, root = _root(_add(s, _times(r, r))), _times(t_root, b_root)
        tiny = (row.A < NEAREST).to(device) | (column.A < NEAREST).to(device).T
        return cls(s, r, h, root, _times(root, h), (s[0] < TOLERATED) | tiny)

    def delta(self, row: Rows, column: Rows, unit: Tensor) -> Pair:
        """δ = 2 asinh w, in multiples of 1/unit; asinh w = log1p(w + w²/(1 + √(1 + w²)))."""
        device, square = self.near.device, _times(self.w, self.w)
        high, low = _add(self.w, _over(square, _plus_one(_root(_plus_one(square)))))
        near_part = _times((torch.log1p(high), low / (1 + high)), _pair(2 * unit, device))
        beyond = (_pair((A - LARGEST_RADIUS_FLOAT32).relu() * unit, device) for A in (row.A, column.A.T))
        return _add(near_part, _add(*beyond))


def values(row: Rows, column: Rows, c: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Distances, and where they are not to be trusted."""
    tile = _Tile.of(row, column, device)
    return tile.delta(row, column, c.rsqrt())[0], tile.near


def slopes(row: Rows, column: Rows, g: Tensor, _: Tensor, by_c: bool) -> tuple[Slopes, Slopes, Tensor, Tensor]:
    """The sums for rows and for columns, Σ g (2c ∂δ/∂c − δ), and the pairs that are left out.

    That sum is a difference of terms as large as g δ, each right to float32.
    """
    tile = _Tile.of(row, column, g.device)
    (s, _), (r, _), (h, _), (root, _), (w, _), near = tile
    above, gap = torch.sqrt(1 + w * w), r * root  # cosh(δ/2), sinh((A − B)/2)
    turn, apart = root / (2 * h * above), r / h * torch.sqrt(1 + gap * gap) / above
    around = 2 * s * turn
    coth_a, coth_b, a, b = (x.to(g) for x in (_coth(row), _coth(column).T, row.growth, column.growth.T))
    weights = (g * turn).masked_fill_(near, 0.0)
    along_row = (g * (apart + around * coth_a)).masked_fill_(near, 0.0).sum(1, keepdim=True)
    along_column = (g * (around * coth_b - apart)).masked_fill_(near, 0.0).sum(0).unsqueeze(1)
    growth = g.new_zeros(())
    if by_c:
        delta = tile.delta(row, column, torch.ones_like(row.A[:1]))[0]
        angular = around * (a * coth_a + b * coth_b)
        growth = (g * ((a - b) * apart + angular - delta)).masked_fill_(near, 0.0).sum()
    return (
        _sums(along_row, weights, row, column),
        _sums(along_column, weights.T, column, row),
        wide(growth),
        near,
    )


def lever(rows: Rows) -> Tensor:
    """One for a unit of length, for sinh A is in the sums; the origin has none."""
    return torch.where(rows.length > 0, 1 / rows.length, 0.0)


def _factors(A: Tensor, device: torch.device) -> tuple[Pair, Pair, Pair]:
    """tanh(A/2), 1/√(2 tanh(A/2)) and √sinh A."""
    a = A.clamp(NEAREST, LARGEST_RADIUS_FLOAT32)
    t = torch.tanh(a / 2)
    return _pair(t, device), _pair((2 * t).rsqrt(), device), _pair(a.sinh().sqrt(), device)


def _coth(side: Rows) -> Tensor:
    return 1 / side.A.clamp(min=NEAREST).tanh()


def _sums(along: Tensor, weights: Tensor, mine: Rows, other: Rows) -> Slopes:
    scale = weights.abs().amax(1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    turn = wide(product(weights / scale, other.unit.T, 26, weights.device)[0] * scale)
    return Slopes(wide(along), torch.linalg.vecdot(turn, mine.unit).unsqueeze(-1), turn)


def product(x: Tensor, y: Tensor, bits: int, device: torch.device) -> Pair:
    """x yᵀ for (N, K) and (M, K) with entries of at most 1, of which a product keeps `bits` bits."""
    count, width = _slices(x.shape[-1], bits)
    xs, ys = (_cut(z, count, width, device) for z in (x, y))
    high = low = x.new_zeros((), dtype=torch.float32, device=device)
    with torch.autocast(device.type, enabled=False):
        for order in range(count):  # products of slices whose places add up to the same
            group = torch.cat(xs[: order + 1], -1) @ torch.cat(ys[: order + 1][::-1], -1).T
            high, error = two_sum(high, group)
            low = low + error
    return two_sum(high, low)


def _slices(length: int, bits: int) -> tuple[int, int]:
    """How many slices of how many bits: sums of `count · length` products must fit into 24 bits, a factor into 11."""
    for count in range(1, bits + 1):
        width = min(10, (25 - math.ceil(math.log2(count * max(1, length)))) // 2)
        if count * width >= bits:
            return count, width
    raise ValueError(f"vectors of length {length} are too long for exact products in float32")


def _cut(x: Tensor, count: int, width: int, device: torch.device) -> list[Tensor]:
    slices = []
    for place in range(1, count + 1):
        upper = torch.round(x * 2.0 ** (place * width)) * 2.0 ** (-place * width)
        slices.append(upper.to(device, torch.float32))
        x = x - upper
    return slices


def _pair(x: Tensor, device: torch.device) -> Pair:
    high = x.float()
    return high.to(device), (x - high).float().to(device)


def _add(x: Pair, y: Pair) -> Pair:
    high, error = two_sum(x[0], y[0])
    return two_sum(high, error + x[1] + y[1])


def _plus_one(x: Pair) -> Pair:
    return _add(x, (torch.ones_like(x[0]), torch.zeros_like(x[1])))


def _halve(x: Pair) -> Pair:
    return x[0] / 2, x[1] / 2


def _times(x: Pair, y: Pair) -> Pair:
    high, error = two_product(x[0], y[0])
    return two_sum(high, error + x[0] * y[1] + x[1] * y[0])


def _over(x: Pair, y: Pair) -> Pair:
    high = x[0] / y[0]
    part, error = two_product(high, y[0])
    return two_sum(high, ((x[0] - part) - error + x[1] - high * y[1]) / y[0])


def _root(x: Pair) -> Pair:
    high = x[0].clamp(min=torch.finfo(torch.float32).tiny).sqrt()
    part, error = two_product(high, high)
    return two_sum(high, ((x[0] - part) - error + x[1]) / (2 * high))
