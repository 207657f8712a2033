"""Inner products that order as distances do, made in float32: what a search can be screened by.

    s_ij = ⟨a_i, b_j⟩ − h_j        falls as the distance of x_i and y_j grows, for each i:

| space      | a_i         | b_j         | h_j        | s at distance d              |
|------------|-------------|-------------|------------|------------------------------|
| Euclidean  | x_i − m     | y_j − m     | ‖y_j − m‖²/2 | (‖x_i − m‖² − d²)/2          |
| hyperbolic | tanh A_i û_i | sinh B_j v̂_j | cosh B_j   | −cosh(√c d)/cosh A_i         |

with m the mean of the gallery (nothing is lost when all points are far from 0) and A, B the distances from the origin
at unit curvature: the second line is the Lorentz product ⟨X, Y⟩ divided by X₀.

Computed in the floats of a matrix product, s carries an error of at most `slack`; so an item whose s lies further than
that from the s of a distance is certainly nearer, or certainly farther, than that distance. The others, few, are for
the caller to measure.

A space for which there is no such line is not screened: its whole rows of distances are sorted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from geomdml._core.numerics import direction, norm, wide
from geomdml.spaces import Euclidean, Hyperbolic, Space

__all__ = ["Products", "Rows"]

_ROWS = 2**21  # numbers of a block that are made in float64 at a time
_LONGEST = 1e15  # a column
_EXACT = 1e-10  # relative error of what is made in float64, far out in the space


@runtime_checkable
class _Line(Protocol):
    """A line of the table; everything in float64."""

    farthest: float  # the largest scale at which points can be multiplied

    def row(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """a, and the scale of each row, (q, 1)."""

    def column(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """b, h and ‖b‖; infinite lengths too far out."""

    def value(self, distance: Tensor, scale: Tensor) -> Tensor:
        """s at (q, n) distances from rows of a scale."""


class _EuclideanLine:
    farthest = 1e15  # its square is a float32 with room to spare

    def __init__(self, space: Space, gallery: Tensor) -> None:
        self.centre = torch.stack([wide(block).sum(0) for block in _blocks(gallery)]).sum(0) / len(gallery)

    def row(self, points: Tensor) -> tuple[Tensor, Tensor]:
        vectors = points - self.centre
        return vectors, norm(vectors)

    def column(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        vectors = points - self.centre
        length = norm(vectors).squeeze(1)
        return vectors, length**2 / 2, length

    def value(self, distance: Tensor, scale: Tensor) -> Tensor:
        return (scale**2 - distance**2) / 2


class _HyperbolicLine:
    farthest = 30.0  # cosh²(30) is a float32 with room to spare

    def __init__(self, space: Hyperbolic, gallery: Tensor) -> None:
        self.space = space

    def row(self, points: Tensor) -> tuple[Tensor, Tensor]:
        unit, A = self._polar(points)
        return unit * A.tanh(), A

    def column(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        unit, B = self._polar(points)
        sinh = B.sinh()
        return unit * sinh, B.cosh().squeeze(1), sinh.masked_fill(~(self.farthest > B), torch.inf).squeeze(1)

    def value(self, distance: Tensor, scale: Tensor) -> Tensor:
        return -(self.space.curvature**0.5 * distance).cosh() / scale.cosh()

    def _polar(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Directions and distances from the origin at unit curvature."""
        unit, length = direction(self.space.to("tangent", points))
        return unit, 2 * self.space.curvature**0.5 * length


_LINES: dict[type, Callable[..., _Line]] = {Euclidean: _EuclideanLine, Hyperbolic: _HyperbolicLine}


@dataclass(frozen=True)
class Products:
    """The columns b_j, from short to long, and what the rows need."""

    space: Space
    line: _Line
    order: Tensor  # (P,) the items in the order of the columns
    columns: Tensor  # (P, D) b
    heights: Tensor  # (P,) h
    lengths: Tensor  # (P,) ‖b‖, in float64

    @classmethod
    def of(cls, space: Space, gallery: Tensor) -> "Products | None":
        """None for a space that is not in the table, and for points too far out to be multiplied."""
        if type(space) not in _LINES or gallery.device.type == "mps" or not len(gallery):
            return None
        line = _LINES[type(space)](space, gallery)
        lengths = torch.cat([line.column(wide(block))[2] for block in _blocks(gallery)])
        if not bool(lengths.amax() < _LONGEST):  # NaN too
            return None
        order = lengths.argsort(stable=True)
        dtype = torch.float32 if torch.get_float32_matmul_precision() == "highest" else torch.float64
        columns, heights = gallery.new_empty(gallery.shape, dtype=dtype), gallery.new_empty(len(gallery), dtype=dtype)
        start = 0
        for some in order.split(max(1, _ROWS // gallery.shape[1])):
            stop = start + len(some)
            columns[start:stop], heights[start:stop], _ = line.column(wide(gallery[some]))
            start = stop
        return cls(space, line, order, columns, heights, lengths[order])

    def rows(self, query: Tensor) -> "Rows | None":
        """None for queries too far out."""
        vectors, scale = self.line.row(wide(query))
        if not bool((scale < self.line.farthest).all()):
            return None
        return Rows(self, vectors.to(self.columns.dtype), scale, norm(vectors))


@dataclass(frozen=True)
class Rows:
    """The rows a_i of some queries."""

    products: Products
    vectors: Tensor  # (q, D) a
    scale: Tensor  # (q, 1) ‖x − m‖, or A
    lengths: Tensor  # (q, 1) ‖a‖

    def value(self, distance: Tensor) -> Tensor:
        """(q, n) s at (q, n) distances, in float64; −∞ at infinite ones."""
        return self.products.line.value(distance, self.scale)

    def bounds(self, distance: Tensor) -> tuple[Tensor, Tensor]:
        """(low, high): but for its slack, an item with s > high is nearer than `distance`, one with s < low farther.

        Distances that round to the same float as `distance` are in between.
        """
        rounding, dtype = 4 * torch.finfo(torch.float32).eps, self.vectors.dtype
        low, high = (self.value(distance.double() * (1 + sign * rounding)) for sign in (1, -1))
        own = 4 * torch.finfo(dtype).eps * low.abs()  # of the bounds, as floats
        return (low - own).to(dtype), (high + own).to(dtype)

    def slack(self, tile: slice) -> Tensor:
        """(q, 1) how far the s of a column of the tile may be from the truth.

        D products summed in any order are off by at most D units in the last place of Σ|a||b| ≤ ‖a‖‖b‖; a, b and h
        have been rounded before. What is too small for a float may have vanished.
        """
        D, info = self.vectors.shape[1], torch.finfo(self.vectors.dtype)
        longest, highest = self.products.lengths[tile][-1], self.products.heights[tile].max()
        unit = max(info.eps / 2, _EXACT)
        slack = (D + 8) * (unit * (self.lengths * longest + highest) + info.tiny * (1 + longest))
        return slack.to(self.vectors.dtype)

    def into(self, out: Tensor, tile: slice) -> Tensor:
        """s of the columns of a tile."""
        torch.mm(self.vectors, self.products.columns[tile].T, out=out)
        return out.sub_(self.products.heights[tile])


def _blocks(points: Tensor) -> tuple[Tensor, ...]:
    return points.split(max(1, _ROWS // points.shape[1]))
