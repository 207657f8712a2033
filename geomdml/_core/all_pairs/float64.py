"""A tile of a distance matrix in float64: the formulas of `geomdml._core.all_pairs`."""

from typing import NamedTuple

import torch
from torch import Tensor

from geomdml._core.all_pairs import fused
from geomdml._core.all_pairs.rows import Rows, Slopes
from geomdml._core.numerics import LARGEST_RADIUS, add_product, asinh_root, sinh_half_difference


def values(row: Rows, column: Rows, c: Tensor, dist: Tensor, kept: Tensor, tolerated: float, width: int) -> Tensor:
    """Writes distances to `dist`, q to `kept` if that is not empty, and says where s is below `tolerated`.

    There the distances are not to be trusted. The unit vectors are multiplied `width` dimensions at a time.
    """
    a, b = _Factors.of(row), _Factors.of(column)
    out, scaled = kept if len(kept) else None, row.unit * a.sinh
    share = add_product(a.sinh, scaled, column.unit, width, beta=0.5, alpha=-0.5, out=out)  # sinh A · s
    if fused.serves(share):
        return fused.distances(share, torch.cat(a, 1), torch.cat(b, 1), c, dist, tolerated)
    near = share < tolerated * a.sinh
    apart = _apart(a, b)
    q = share.mul_(b.sinh.T).addcmul_(apart, apart)
    del apart  # so that what follows is written into its memory
    dist.copy_(_delta(q, a, b).div_(c.sqrt()))
    return near


def slopes(row: Rows, column: Rows, g: Tensor, q: Tensor, by_c: bool) -> tuple[Slopes, Slopes, Tensor, Tensor]:
    """The sums for rows and for columns, Σ g (2c ∂δ/∂c − δ), and the pairs that are left out: those of infinite q."""
    a, b, near = _Factors.of(row), _Factors.of(column), q == torch.inf
    t = fused.weights(q, g) if fused.serves(q) else _weights(q, g)
    growth = q.new_zeros(())
    if by_c:
        growth = (t * _growth(q, a, b) - g * _delta(q, a, b)).masked_fill_(near, 0.0).sum()
    return _sums(t, row, a, column, b), _sums(t.T, column, b, row, a), growth, near


def lever(rows: Rows) -> Tensor:
    """(sinh A)/2 for a unit of length; at the origin its limit."""
    sinh = rows.A.clamp(max=LARGEST_RADIUS).sinh()
    return torch.where(rows.length > 0, sinh / rows.length, rows.stretch) / 2


class _Factors(NamedTuple):
    sinh: Tensor
    cosh: Tensor
    half_sinh: Tensor
    half_cosh: Tensor
    beyond: Tensor  # δ grows by exactly that
    growth: Tensor

    @classmethod
    def of(cls, rows: Rows) -> "_Factors":
        a = rows.A.clamp(max=LARGEST_RADIUS)
        return cls(a.sinh(), a.cosh(), (a / 2).sinh(), (a / 2).cosh(), rows.A - a, rows.growth)


def _weights(q: Tensor, g: Tensor) -> Tensor:
    """g ∂δ/∂q = g/√(q + q²); 0 where q is infinite."""
    return torch.addcmul(q, q, q).rsqrt_().clamp_(max=1e150).mul_(g)


def _sums(t: Tensor, row: Rows, a: _Factors, column: Rows, b: _Factors) -> Slopes:
    # Scaled is what is smaller, and no matrix is made for a sum over its rows: fresh memory is what costs here.
    turn = (t * b.sinh.T) @ column.unit if len(t) < row.unit.shape[-1] else t @ (b.sinh * column.unit)
    inward = torch.bmm(turn.unsqueeze(1), row.unit.unsqueeze(2)).squeeze(2)
    return Slopes((a.sinh * (t @ b.cosh) - a.cosh * inward) / 2, inward, turn)


def _apart(a: _Factors, b: _Factors) -> Tensor:
    """sinh((A − B)/2)."""
    return sinh_half_difference(a.half_sinh, a.half_cosh, b.half_sinh.T, b.half_cosh.T)


def _delta(q: Tensor, a: _Factors, b: _Factors) -> Tensor:
    return asinh_root(q).mul_(2).add_(a.beyond).add_(b.beyond.T)


def _growth(q: Tensor, a: _Factors, b: _Factors) -> Tensor:
    """2c ∂q/∂c: the radii grow with c, the angle stays. Of its two terms neither cancels."""
    apart = _apart(a, b)
    square = apart * apart
    coth_a, coth_b = (f.cosh / torch.where(f.sinh > 0, f.sinh, 1.0) for f in (a, b))
    angular = a.growth * coth_a + (b.growth * coth_b).T
    return (a.growth - b.growth.T) * apart * torch.sqrt(1 + square) + (q - square) * angular
