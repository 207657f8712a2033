"""All distances between two lists of points, (B, D) and (P, D) to (B, P): one kernel for every chart of the space.

A chart says where its points are (`Rows`): each lies in a direction û from the origin, at unit-curvature distance A.
For two points, at A and B with the angle θ between them,

    q = sinh²(δ/2) = (sinh(A/2) cosh(B/2) − cosh(A/2) sinh(B/2))² + sinh A · sinh B · s,    s = sin²(θ/2) = (1 − û·v̂)/2

and their distance is δ/√c with δ = 2 asinh √q. Only û·v̂ is more than a number of the row times one of the column. With
t = ∂δ/∂q = 1/√(q(1 + q)) the derivatives are

    ∂δ/∂A = (t/2) (sinh A cosh B − cosh A sinh B cos θ),        ∂δ/∂û = −(t/2) sinh A sinh B (v̂ − cos θ û)

so that their sums over j follow from Σ_j t_ij sinh B_j v̂_j and Σ_j t_ij cosh B_j. The work goes tile by tile, and the
backward pass needs the matrix q and nothing of size (B, P, D).

Where the directions nearly agree, 1 − û·v̂ cancels. Those few pairs are computed one to one by functions of the chart.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from geomdml import autograd
from geomdml.numerics import asinh_root, entries, result_dtype, tolerated_loss, wide

FAR = 170.0  # sinh²(170) is a float64 with room for its square; beyond, δ grows by exactly A − FAR
TILE = 1024  # rows and columns of a tile on the CPU: 8 MB of float64 at most
LARGE_TILE = 8192  # on other devices


class Rows(NamedTuple):
    """Where the points of a list are, in float64."""

    unit: Tensor  # (N, D) û; 0 for the origin
    length: Tensor  # (N, 1) the norm of the vector that stores the point
    A: Tensor  # (N, 1)
    stretch: Tensor  # (N, 1) ∂A/∂length
    growth: Tensor  # (N, 1) 2c ∂A/∂c


class Chart(NamedTuple):
    """What the kernel asks of a chart, all in float64: where points are, and distances one to one."""

    rows: Callable[[Tensor, Tensor], Rows]  # of x, c
    value: Callable[[Tensor, Tensor, Tensor], Tensor]  # of x, y, c
    gradient: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]  # of its gradient, x, y, c


def polar(x: Tensor) -> tuple[Tensor, Tensor]:
    """x/‖x‖ and ‖x‖ in float64: `numerics.direction` without its care for norms whose square leaves float64."""
    x = wide(x)
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / torch.where(length > 0, length, 1.0), length


def distances(chart: Chart, x: Tensor, y: Tensor, c: Tensor, *, keep: bool) -> tuple[Tensor, Tensor]:
    """(B, P) distances and, to `keep` for the backward pass, q: infinite where a pair was computed one to one."""
    left, right = _Factors.of(chart.rows(x, c)), _Factors.of(chart.rows(y, c))
    result = x.new_empty((len(x), len(y)), dtype=result_dtype(x, y))
    kept = x.new_empty(result.shape if keep else (0, 0), dtype=torch.float64)
    for i, j in _tiles(result):
        row, column = left.part(i), right.part(j)
        share = torch.addmm(row.sinh, row.unit * row.sinh, column.unit.T, beta=0.5, alpha=-0.5)  # sinh A · s
        near = share < tolerated_loss(x, y) * row.sinh
        apart = _apart(row, column)
        q = torch.addcmul(share.mul_(column.sinh.T), apart, apart, out=kept[i, j] if keep else share)
        result[i, j] = _delta(q, row, column).div_(c.sqrt())
        for k, m in entries(near, x.shape[-1]):
            result[i, j][k, m] = chart.value(wide(x[i][k]), wide(y[j][m]), c).to(result.dtype)
            q[k, m] = torch.inf
    return result, kept


def gradients(
    chart: Chart, grad: Tensor, x: Tensor, y: Tensor, c: Tensor, q: Tensor, *, by_c: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of `distances` by x, by y and, where it is asked for, by c."""
    rows = chart.rows(x, c), chart.rows(y, c)
    left, right = map(_Factors.of, rows)
    sums = _Sums.zeros(left), _Sums.zeros(right)
    by_curvature = torch.zeros_like(c)
    for i, j in _tiles(grad):
        row, column, g, q_ij = left.part(i), right.part(j), grad[i, j], q[i, j]
        t = torch.addcmul(q_ij, q_ij, q_ij).rsqrt_().clamp_(max=1e150).mul_(g)  # 0 where q is infinite
        sums[0].add(i, t, column)
        sums[1].add(j, t.T, row)
        if by_c:
            growth = t * _growth(q_ij, row, column) - _delta(q_ij, row, column) * g
            by_curvature += torch.where(q_ij < torch.inf, growth, 0.0).sum() / (2 * c**1.5)
    by_points = []
    for place, factors, total in zip(rows, (left, right), sums, strict=True):
        along = torch.linalg.vecdot(total.turn, place.unit).unsqueeze(-1)
        slope = (factors.sinh * total.lift - factors.cosh * along) / (2 * c.sqrt())  # Σ_j ∂d/∂A
        aside = torch.where(place.length > 0, factors.sinh / place.length, place.stretch) / (2 * c.sqrt())
        by_points.append(total.turn.mul_(-aside).addcmul_(slope * place.stretch + aside * along, place.unit))
    for k, m in entries(q == torch.inf, x.shape[-1]):
        of_x, of_y, of_c = chart.gradient(wide(grad[k, m]), wide(x[k]), wide(y[m]), c)
        by_points[0].index_add_(0, k, of_x)
        by_points[1].index_add_(0, m, of_y)
        by_curvature += of_c
    return by_points[0].to(x.dtype), by_points[1].to(y.dtype), by_curvature


def operator(name: str, chart: Chart) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """`distances` in a chart, as one differentiable function of x, y and c."""

    @autograd.operator(f"{name}_distances(Tensor x, Tensor y, Tensor c, bool keep) -> (Tensor, Tensor)", _empty_values)
    def values(x: Tensor, y: Tensor, c: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
        return distances(chart, x, y, c, keep=keep)

    @autograd.operator(
        f"{name}_gradients(Tensor g, Tensor x, Tensor y, Tensor c, Tensor q, bool by_c) -> (Tensor, Tensor, Tensor)",
        _empty_gradients,
    )
    def derivatives(g: Tensor, x: Tensor, y: Tensor, c: Tensor, q: Tensor, by_c: bool) -> tuple[Tensor, ...]:
        return gradients(chart, g, x, y, c, q, by_c=by_c)

    class Distances(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x: Tensor, y: Tensor, c: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
            return values(x, y, c, keep)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: tuple[Tensor, Tensor]) -> None:
            ctx.save_for_backward(*inputs[:3], output[1])
            ctx.mark_non_differentiable(output[1])

        @staticmethod
        def backward(ctx: Any, grad: Tensor, _: Any) -> Any:
            return (
                *autograd.FirstDerivative.apply(derivatives, grad, *ctx.saved_tensors, ctx.needs_input_grad[2]),
                None,
            )

    return lambda x, y, c: Distances.apply(x, y, c, torch.is_grad_enabled())[0]


def _empty_values(x: Tensor, y: Tensor, c: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
    shape = (len(x), len(y))
    return x.new_empty(shape, dtype=result_dtype(x, y)), x.new_empty(shape if keep else (0, 0), dtype=torch.float64)


def _empty_gradients(grad: Tensor, x: Tensor, y: Tensor, c: Tensor, q: Tensor, by_c: bool) -> tuple[Tensor, ...]:
    return torch.empty_like(x), torch.empty_like(y), torch.empty_like(c)


class _Factors(NamedTuple):
    """What a row or a column brings to the matrices."""

    unit: Tensor
    sinh: Tensor
    cosh: Tensor
    half_sinh: Tensor
    half_cosh: Tensor
    beyond: Tensor
    growth: Tensor

    @classmethod
    def of(cls, rows: Rows) -> "_Factors":
        a = rows.A.clamp(max=FAR)
        return cls(rows.unit, a.sinh(), a.cosh(), (a / 2).sinh(), (a / 2).cosh(), rows.A - a, rows.growth)

    def part(self, block: slice) -> "_Factors":
        return _Factors(*(values[block] for values in self))


class _Sums(NamedTuple):
    """Sums over the other side, with weights t: of sinh B · v̂, and of cosh B."""

    turn: Tensor
    lift: Tensor

    @classmethod
    def zeros(cls, factors: _Factors) -> "_Sums":
        return cls(torch.zeros_like(factors.unit), torch.zeros_like(factors.cosh))

    def add(self, block: slice, t: Tensor, other: _Factors) -> None:
        self.turn[block].addmm_(t * other.sinh.T, other.unit)
        self.lift[block].addmm_(t, other.cosh)


def _tiles(matrix: Tensor) -> Iterator[tuple[slice, slice]]:
    side = TILE if matrix.device.type == "cpu" else LARGE_TILE
    for i in range(0, matrix.shape[0], side):
        for j in range(0, matrix.shape[1], side):
            yield slice(i, i + side), slice(j, j + side)


def _apart(row: _Factors, column: _Factors) -> Tensor:
    """sinh((A − B)/2)."""
    return (row.half_sinh * column.half_cosh.T).addcmul_(row.half_cosh, column.half_sinh.T, value=-1)


def _growth(q: Tensor, row: _Factors, column: _Factors) -> Tensor:
    """2c ∂q/∂c: the radii grow with c, the angle stays. Of the two terms, neither cancels."""
    apart, (a, b) = _apart(row, column), (row.growth, column.growth.T)
    coth_a, coth_b = (side.cosh / torch.where(side.sinh > 0, side.sinh, 1.0) for side in (row, column))
    square = apart * apart
    return (a - b) * apart * torch.sqrt(1 + square) + (q - square) * (a * coth_a + b * coth_b.T)


def _delta(q: Tensor, row: _Factors, column: _Factors) -> Tensor:
    return asinh_root(q).mul_(2).add_(row.beyond).add_(column.beyond.T)
