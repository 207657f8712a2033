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

from geomdml import _native
from geomdml._core import autograd
from geomdml._core.all_pairs import float64, native, twofloat
from geomdml._core.all_pairs.rows import Rows, Slopes, polar
from geomdml._core.numerics import product_width, result_dtype, result_form, tolerated_loss, unequal_entries, wide

__all__ = ["ChartKernel", "Rows", "operator", "polar"]

BLOCK = 1024  # points at a time on the CPU: what is made of them stays in the caches
PAIRS = 2**18  # numbers in the pairs of points that second derivatives take at a time
LARGE_BLOCK = 4096  # on other devices


class ChartKernel(NamedTuple):
    """What the matrices need of a chart, all in float64: where points are, and distances one to one."""

    rows: Callable[[Tensor, Tensor], Rows]  # of x, c
    value: Callable[[Tensor, Tensor, Tensor], Tensor]  # of x, y, c
    gradient: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]  # of g, x, y, c
    formula: Callable[[Tensor, Tensor, Tensor], Tensor]  # of torch's functions, for further derivatives; of x, y, c


def distances(chart: ChartKernel, x: Tensor, y: Tensor, c: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
    """(B, P) distances and, to `keep` for the backward pass, q: infinite where a pair was computed one to one.

    x and y are of the dtype of the result.
    """
    result, kept = _empty(x, y, c, keep)
    tolerated, width = tolerated_loss(x, y), product_width(x, y)
    rows = [(i, chart.rows(x[i], c)) for i in _blocks(x)]
    for j in _blocks(y):
        column = chart.rows(y[j], c)
        for i, row in rows:
            q = kept[i, j]
            if twofloat.is_needed(x, y):
                result[i, j], near = twofloat.values(row, column, c, x.device)
            else:
                near = float64.values(row, column, c, result[i, j], q, tolerated, width)
            if not bool(near.any()):
                continue
            if len(q):
                q.masked_fill_(near, torch.inf)
            result[i, j].masked_fill_(near, 0.0)
            for k, m in unequal_entries(near, x[i], y[j]):
                result[i, j][k, m] = chart.value(wide(x[i][k]), wide(y[j][m]), c).to(result)
    return result, kept


def gradients(
    chart: ChartKernel, g: Tensor, x: Tensor, y: Tensor, c: Tensor, q: Tensor, by_c: bool
) -> tuple[Tensor, ...]:
    """The gradient of `distances` by x, by y and, where it is asked for, by c, from the gradient g of the matrix."""
    by_x, by_y, grad_c = torch.zeros_like(x), torch.zeros_like(y), torch.zeros_like(c)  # zeros: a side may be empty
    kernel = float64 if len(q) == len(x) else twofloat
    rows = [(i, chart.rows(x[i], c)) for i in _blocks(x)]
    row_sums: list[Slopes | None] = [None] * len(rows)
    for j in _blocks(y):
        column = chart.rows(y[j], c)
        column_sums: Slopes | None = None
        for n, (i, row) in enumerate(rows):
            of_row, of_column, growth, near = kernel.slopes(row, column, g[i, j], q[i, j], by_c)
            grad_c += growth / (2 * c**1.5)
            for k, m in unequal_entries(near, x[i], y[j]):
                singly_x, singly_y, singly_c = chart.gradient(wide(g[i, j][k, m]), wide(x[i][k]), wide(y[j][m]), c)
                of_row, of_column = of_row.with_single(k, singly_x), of_column.with_single(m, singly_y)
                grad_c += singly_c
            row_sums[n], column_sums = of_row.plus(row_sums[n]), of_column.plus(column_sums)
        _write(by_y[j], column, column_sums, kernel.lever(column), c)
    for (i, row), sums in zip(rows, row_sums, strict=True):
        _write(by_x[i], row, sums, kernel.lever(row), c)
    return by_x, by_y, grad_c


def _write(out: Tensor, side: Rows, slopes: Slopes | None, lever: Tensor, c: Tensor) -> None:
    """∂d/∂u, along û and across it; nothing where the other side is empty."""
    if slopes is None:
        return
    lever = lever / c.sqrt()
    radial = slopes.along * side.stretch / c.sqrt() + lever * slopes.inward
    gradient = slopes.turn.mul_(-lever).addcmul_(radial, side.unit)
    out.copy_(gradient if slopes.single is None else gradient.add_(slopes.single))


def operator(name: str, chart: ChartKernel) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
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

    def formula(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
        return chart.formula(wide(x).unsqueeze(1), wide(y).unsqueeze(0), c).to(**result_form(x, y))

    second = _row_by_row(autograd.second_of(formula))

    class Distances(autograd.Function):
        @staticmethod
        def forward(x: Tensor, y: Tensor, c: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
            return values(x, y, c, keep)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: tuple[Tensor, Tensor]) -> None:
            ctx.save_for_backward(*inputs[:3], output[1])
            ctx.mark_non_differentiable(output[1])
            ctx.set_materialize_grads(False)  # no zeros for what is only kept

        @staticmethod
        def backward(ctx: Any, grad: Tensor | None, _: Any) -> Any:
            if grad is None:
                return (None,) * 4
            by_c = ctx.needs_input_grad[2]
            return (*autograd.FirstDerivative.apply(derivatives, second, grad, *ctx.saved_tensors, by_c), None)

    def native_values(x: Tensor, y: Tensor, c: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
        found = native.distances(name, chart.value, x, y, c, keep)
        return distances(chart, x, y, c, keep) if found is None else found

    def native_derivatives(g: Tensor, x: Tensor, y: Tensor, c: Tensor, kept: Tensor, by_c: bool) -> tuple[Tensor, ...]:
        if kept.dtype != torch.float64:
            if _native.take(g) and not by_c:
                return *native.gradients(name, chart.gradient, g, x, y, c, kept), torch.zeros_like(c)
            kept = distances(chart, x, y, c, True)[1]
        return derivatives(g, x, y, c, kept, by_c)

    natively = autograd.outside_transforms(native_values, native_derivatives, second)

    def all_distances(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
        if native.takes(x, y) and not twofloat.is_needed(x, y):
            return natively(x, y, c)
        keep, dtype = torch.is_grad_enabled() and not twofloat.is_needed(x, y), result_dtype(x, y)
        if autograd.in_forward_mode():
            return formula(x, y, c)
        x, y = autograd.tell_apart(x.to(dtype), y.to(dtype))  # the longer of them says how exact the rows must be
        return Distances.apply(x, y, c, keep)[0]

    return all_distances


def _row_by_row(second: autograd.Second) -> autograd.Second:
    """The second derivatives of all pairs, a few rows at a time: nothing of size (B, P, D) is made."""

    def in_blocks(grad: Tensor, x: Tensor, y: Tensor, c: Tensor, cotangents: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        of_x, of_y, of_c = cotangents
        together = max(1, PAIRS // max(1, y.numel()))
        by_grad, by_x, by_y, by_c = [], [], torch.zeros_like(y), torch.zeros_like(c)
        for start in range(0, len(x), together):
            i = slice(start, start + together)
            parts = second(grad[i], x[i], y, c, (of_x[i], of_y, of_c))
            by_grad.append(parts[0])
            by_x.append(parts[1])
            by_y, by_c = by_y + parts[2], by_c + parts[3]
        if not by_x:
            return torch.zeros_like(grad), torch.zeros_like(x), by_y, by_c
        return torch.cat(by_grad), torch.cat(by_x), by_y, by_c

    return in_blocks


def _empty(x: Tensor, y: Tensor, c: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
    shape = (x.shape[0], y.shape[0])
    q = x.new_empty(shape, dtype=torch.float64) if keep else x.new_empty((0, 0))
    return x.new_empty(shape, dtype=result_dtype(x, y)), q


def _blocks(points: Tensor) -> Iterator[slice]:
    side = BLOCK if points.device.type == "cpu" else LARGE_BLOCK
    return (slice(start, start + side) for start in range(0, len(points), side))
