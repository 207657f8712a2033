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
from geomdml.numerics import entries, result_dtype, tolerated_loss, wide
from geomdml.pairs import float64, twofloat
from geomdml.pairs.rows import Rows, Slopes, polar

__all__ = ["Chart", "Rows", "operator", "polar"]

TILE = 1024  # rows and columns of a tile on the CPU: at most 8 MB of float64
LARGE_TILE = 4096  # on other devices


class Chart(NamedTuple):
    """What the matrices need of a chart, all in float64: where points are, and distances one to one."""

    rows: Callable[[Tensor, Tensor], Rows]  # of x, c
    value: Callable[[Tensor, Tensor, Tensor], Tensor]  # of x, y, c
    gradient: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]  # of g, x, y, c


def distances(chart: Chart, x: Tensor, y: Tensor, c: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
    """(B, P) distances and, to `keep` for the backward pass, q: infinite where a pair was computed one to one."""
    rows, columns = chart.rows(x, c), chart.rows(y, c)
    result, kept = _empty(x, y, c, keep)
    for i, j in _tiles(result):
        row, column, q = rows.part(i), columns.part(j), kept[i, j]
        if twofloat.wanted(x.device):
            result[i, j], near = twofloat.values(row, column, c, x.device)
        else:
            result[i, j], near = float64.values(row, column, c, tolerated_loss(x, y), q)
        for k, m in entries(near, x.shape[-1]):
            result[i, j][k, m] = chart.value(wide(x[i][k]), wide(y[j][m]), c).to(result)
            if len(q):
                q[k, m] = torch.inf
    return result, kept


def gradients(chart: Chart, g: Tensor, x: Tensor, y: Tensor, c: Tensor, q: Tensor, by_c: bool) -> tuple[Tensor, ...]:
    """The gradient of `distances` by x, by y and, where it is asked for, by c, from the gradient g of the matrix."""
    sides = rows, columns = chart.rows(x, c), chart.rows(y, c)
    sums: tuple[dict[int, Slopes], ...] = {}, {}
    grad_c, one_to_one = torch.zeros_like(c), []
    kernel = float64 if len(q) == len(x) else twofloat
    for i, j in _tiles(g):
        *parts, growth, near = kernel.slopes(rows.part(i), columns.part(j), g[i, j], q[i, j], by_c)
        for total, block, part in zip(sums, (i, j), parts, strict=True):
            before = total.get(block.start)
            total[block.start] = part if before is None else before.plus(part)
        grad_c += growth / (2 * c**1.5)
        one_to_one += [(i.start + k, j.start + m) for k, m in entries(near, x.shape[-1])]
    by_points = []
    for side, total in zip(sides, sums, strict=True):
        along, inward, turn = Slopes.joined(total.values(), side)
        lever = kernel.lever(side) / c.sqrt()
        radial = along * side.stretch / c.sqrt() + lever * inward
        by_points.append(turn.mul_(-lever).addcmul_(radial, side.unit))
    for k, m in one_to_one:
        by_x, by_y, of_c = chart.gradient(wide(g[k, m]), wide(x[k]), wide(y[m]), c)
        by_points[0].index_add_(0, k, by_x)
        by_points[1].index_add_(0, m, by_y)
        grad_c += of_c
    return by_points[0].to(x), by_points[1].to(y), grad_c


def operator(name: str, chart: Chart) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """`distances` in a chart, as one differentiable function of x, y and c."""

    @autograd.operator(f"{name}_distances(Tensor x, Tensor y, Tensor c, bool keep) -> (Tensor, Tensor)", _empty)
    def values(x: Tensor, y: Tensor, c: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
        return distances(chart, x, y, c, keep)

    @autograd.operator(
        f"{name}_gradients(Tensor g, Tensor x, Tensor y, Tensor c, Tensor q, bool by_c) -> (Tensor, Tensor, Tensor)",
        lambda g, x, y, c, q, by_c: (torch.empty_like(x), torch.empty_like(y), torch.empty_like(c)),
    )
    def derivatives(g: Tensor, x: Tensor, y: Tensor, c: Tensor, q: Tensor, by_c: bool) -> tuple[Tensor, ...]:
        return gradients(chart, g, x, y, c, q, by_c)

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
            by_c = ctx.needs_input_grad[2]
            return (*autograd.FirstDerivative.apply(derivatives, grad, *ctx.saved_tensors, by_c), None)

    def all_distances(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
        keep = torch.is_grad_enabled() and not twofloat.wanted(x.device)
        return Distances.apply(x, y, c, keep)[0]

    return all_distances


def _empty(x: Tensor, y: Tensor, c: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
    shape = (len(x), len(y))
    q = x.new_empty(shape, dtype=torch.float64) if keep else x.new_empty((0, 0))
    return x.new_empty(shape, dtype=result_dtype(x, y)), q


def _tiles(matrix: Tensor) -> Iterator[tuple[slice, slice]]:
    side = TILE if matrix.device.type == "cpu" else LARGE_TILE
    for i in range(0, matrix.shape[0], side):
        for j in range(0, matrix.shape[1], side):
            yield slice(i, i + side), slice(j, j + side)
