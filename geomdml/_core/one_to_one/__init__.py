"""Distances one to one where leading dimensions broadcast, as (B, 1, D) against (B, K, D): one kernel for all charts.

A point lies in a direction û from the origin, at unit-curvature distance A. For two points, at A and B,

    q = sinh²(δ/2) = sinh²((A − B)/2) + sinh A · sinh B · s,    s = ‖û − v̂‖²/4,    δ = log(1 + 2(q + √(q + q²)))

Everything is arithmetic on coordinates in float64, coordinates first: a few dimensions are as fast as many. The
difference of unit vectors has an error of 1e-16, which a float32 does not see unless the directions nearly agree. Those
few pairs, and all pairs of float64 points, take the functions of the chart that keep every digit.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from geomdml import _native
from geomdml._core import autograd
from geomdml._core.numerics import LARGEST_RADIUS, home, result_dtype, result_form, sinh_half_difference, wide
from geomdml._core.one_to_one import native

LARGEST_HALF = LARGEST_RADIUS / 2  # of A/2; beyond, δ grows by what is cut off
NEAR = 1e-15  # of s; below, digits are lost that a float32 has
LEAST = 1e-300  # a divisor in place of 0, of what is 0 itself
TINY = 1e-200  # of q; below, it may have lost digits to underflow
SHORT = 1e-4  # of A; below, the terms of the derivative by c cancel
CACHED = 2**17  # numbers that stay in a cache


class ChartKernel(NamedTuple):
    """What the kernel needs of a chart, in float64."""

    halves: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # sinh and cosh of A/2, cut at LARGEST_HALF
    slopes: Callable[..., tuple[Tensor, Tensor]]  # ∂A/∂‖x‖ and 2c ∂A/∂c; of ‖x‖, c and the halves
    value: Callable[[Tensor, Tensor, Tensor], Tensor]  # distances with every digit; of x, y, c
    gradient: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]  # of g, x, y, c
    formula: Callable[[Tensor, Tensor, Tensor], Tensor]  # of torch's functions, for further derivatives; of x, y, c
    lost: Callable[[Tensor, Tensor], Tensor] | None = None  # points that need more digits; of ‖x‖ and c
    beyond: Callable[[Tensor, Tensor], Tensor] | None = None  # A − LARGEST_RADIUS, at least 0; of ‖x‖ and c


class _Points(NamedTuple):
    """One side of the pairs: directions, distances from the origin, and the halves."""

    unit: Tensor  # (D, ...)
    length: Tensor
    sinh: Tensor  # of A/2
    cosh: Tensor

    @classmethod
    def views(cls, stacked: Tensor) -> "_Points":
        return cls(stacked[:-3], stacked[-3], stacked[-2], stacked[-1])


def _stack(chart: ChartKernel, x: Tensor, c: Tensor) -> Tensor:
    """The `_Points` of (..., D), in one tensor (D + 3, ...)."""
    stacked = x.new_empty((x.shape[-1] + 3, *x.shape[:-1]), dtype=torch.float64, device=home(x.device))
    points = _Points.views(stacked)
    points.unit.copy_(x.movedim(-1, 0))
    torch.sqrt(points.unit.square().sum(0), out=points.length)
    points.unit.div_(points.length.clamp(min=LEAST))
    sinh, cosh = chart.halves(points.length, c)
    points.sinh.copy_(sinh)
    points.cosh.copy_(cosh)
    return stacked


def distances(chart: ChartKernel, x: Tensor, y: Tensor, c: Tensor, keep: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distances and, to `keep` for the backward pass, the points of both sides and s, sinh((A − B)/2) and √(q + q²)."""
    shape, dtype = torch.broadcast_shapes(x.shape[:-1], y.shape[:-1]), result_dtype(x, y)
    if dtype == torch.float64:
        wide_x, wide_y = torch.broadcast_tensors(wide(x), wide(y))
        return chart.value(wide_x, wide_y, c).to(x.device), x.new_empty(0), x.new_empty(0), x.new_empty(0)
    xs, ys = _stack(chart, x, c), _stack(chart, y, c)
    a, b = _Points.views(xs), _Points.views(ys)
    pairs = xs.new_empty((3, *shape))
    s, apart, root = pairs
    sinh_half_difference(a.sinh, a.cosh, b.sinh, b.cosh, out=apart)
    _quarter_of_squares(a.unit, b.unit, out=s)
    q = torch.mul(s, b.sinh * b.cosh).mul_(4 * a.sinh * a.cosh).addcmul_(apart, apart)
    torch.addcmul(q, q, q, out=root).sqrt_()
    near = _near(chart, a, b, s, q, c)
    result = _delta(chart, a, b, q, root, c).div_(c.sqrt()).to(x.device, dtype)
    if near is not None:
        root.masked_fill_(near, torch.inf)
        result.masked_fill_(near, 0.0)
        near, near_x, near_y = _unequal(near, x, y)
        if len(near_x):
            result[near] = chart.value(near_x, near_y, c).to(result)
    return (result, xs, ys, pairs) if keep else (result, x.new_empty(0), x.new_empty(0), x.new_empty(0))


def _near(chart: ChartKernel, a: _Points, b: _Points, s: Tensor, q: Tensor, c: Tensor) -> Tensor | None:
    """The pairs that need every digit; None where none does, which is told by a fast look at the least s and q."""
    near = None
    if s.numel() and (float(s.amin()) < NEAR or float(q.amin()) < TINY):
        near = (s < NEAR) | (q < TINY)
    for points in (a, b):
        if chart.lost is not None and bool((lost := chart.lost(points.length, c)).any()):
            near = lost.expand_as(s) if near is None else near | lost
    return near


def gradients(
    chart: ChartKernel, g: Tensor, x: Tensor, y: Tensor, c: Tensor, xs: Tensor, ys: Tensor, pairs: Tensor, by_c: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of `distances` by x, y and, where it is asked for, c, from the gradient g and what was kept."""
    if not g.numel():
        return torch.zeros_like(x), torch.zeros_like(y), torch.zeros_like(c)
    if not len(pairs):
        wide_x, wide_y = torch.broadcast_tensors(wide(x), wide(y))
        by_x, by_y, grad_c = chart.gradient(wide(g), wide_x, wide_y, c)
        return by_x.sum_to_size(x.shape).to(x), by_y.sum_to_size(y.shape).to(y), grad_c
    a, b = _Points.views(xs), _Points.views(ys)
    s, apart, root = pairs
    (stretch_a, growth_a), (stretch_b, growth_b) = (chart.slopes(p.length, c, p.sinh, p.cosh) for p in (a, b))
    g, near = wide(g), torch.empty(0)
    if by_c or float(root.amax()) == torch.inf:
        near = root == torch.inf
        if by_c:
            near |= (growth_a < SHORT) & (growth_b < SHORT)
    t = (g / root).masked_fill_(near, 0.0) if near.numel() else g / root
    # ∂q/∂A = sinh(A − B)/2 + s cosh A sinh B, and across û it is −sinh A sinh B (v̂ − û + 2s û)/2.
    sinh_a, sinh_b = 2 * a.sinh * a.cosh, 2 * b.sinh * b.cosh
    ratio = (a.sinh + a.cosh) / (b.sinh + b.cosh)  # e^((A − B)/2)
    radial = ratio.reciprocal().add_(ratio).mul_(apart).mul_(t).div_(2)
    by_a = (t * s).mul_(sinh_b).mul_(1 + 2 * a.sinh**2).add_(radial)
    by_b = (t * s).mul_(sinh_a).mul_(1 + 2 * b.sinh**2).sub_(radial)
    grad_c = torch.zeros_like(c)
    if by_c:
        delta = _delta(chart, a, b, (s * sinh_b).mul_(sinh_a).addcmul_(apart, apart), root, c)
        grad_c = (growth_a * by_a + growth_b * by_b - (g * delta).masked_fill_(near, 0.0)).sum() / (2 * c**1.5)
    cosine = 1 - 2 * s
    by_x = _by_side(a, b, by_a, t.mul(sinh_b), cosine, stretch_a, sinh_a).div_(c.sqrt())
    by_y = _by_side(b, a, by_b, t.mul(sinh_a), cosine, stretch_b, sinh_b).div_(c.sqrt())
    if near.numel():
        near, near_x, near_y = _unequal(near, x, y)
        if len(near_x):
            singles = chart.gradient(g[near], near_x, near_y, c)
            _add_at(by_x, near, singles[0])
            _add_at(by_y, near, singles[1])
            grad_c += singles[2]
    return by_x.to(x).movedim(0, -1).contiguous(), by_y.to(y).movedim(0, -1).contiguous(), grad_c


def _by_side(
    side: _Points, other: _Points, slope: Tensor, weight: Tensor, cosine: Tensor, stretch: Tensor, sinh: Tensor
) -> Tensor:
    """√c times the gradient by one side, (D, ...): along û and across it, summed over the pairs of each point."""
    lever = sinh / side.length.clamp(min=LEAST)
    if side.length.numel() and float(side.length.amin()) == 0:
        lever = torch.where(side.length > 0, lever, stretch)
    weight = weight.mul_(lever).div_(2)
    along = (slope * stretch).addcmul_(weight, cosine).sum_to_size(side.length.shape)
    gradient = along * side.unit
    for part in _parts(len(gradient), weight.numel()):
        mine, unit = gradient[part], other.unit[part]
        if mine.shape[1:] == weight.shape:
            mine.addcmul_(weight, unit, value=-1)
        else:
            mine.sub_((weight * unit).sum_to_size(mine.shape))
    return gradient


def _unequal(near: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which of the near pairs are not equal, for those are at 0 with gradient 0; and their points, (M, D)."""
    x, y = (z.expand(*near.shape, -1)[near] for z in (x, y))
    unequal = (x != y).any(-1)
    return near.masked_scatter(near, unequal), wide(x[unequal]), wide(y[unequal])


def _add_at(gradient: Tensor, near: Tensor, singles: Tensor) -> None:
    """Adds the gradients (M, D) of single pairs, those that are `near`, to the points (D, ...) that they are of."""
    numbers = torch.arange(gradient[0].numel(), device=near.device).view(gradient.shape[1:]).expand_as(near)
    gradient.view(len(gradient), -1).index_add_(1, numbers[near], singles.T)


def _delta(chart: ChartKernel, a: _Points, b: _Points, q: Tensor, root: Tensor, c: Tensor) -> Tensor:
    """δ from q, whose memory it takes, and √(q + q²)."""
    delta = q.add_(root).mul_(2).log1p_()
    if chart.beyond is not None:
        delta += chart.beyond(a.length, c) + chart.beyond(b.length, c)
    return delta


def _quarter_of_squares(x: Tensor, y: Tensor, out: Tensor) -> None:
    """Σ (x_d − y_d)²/4 over the first dimension."""
    out.zero_()
    for part in _parts(len(x), out.numel()):
        difference = x[part] - y[part]
        out.add_(difference.square_().sum(0), alpha=0.25)


def _parts(count: int, size: int) -> Iterator[slice]:
    """As many of `count` coordinates at a time, each of `size` numbers, as stay in the cache together."""
    together = max(1, CACHED // max(1, size))
    return (slice(start, start + together) for start in range(0, count, together))


def operator(name: str, chart: ChartKernel) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """`distances` in a chart, as one differentiable function of x, y and c."""
    kept = "Tensor xs, Tensor ys, Tensor pairs"

    @autograd.operator(
        f"{name}_dist(Tensor x, Tensor y, Tensor c, bool keep) -> (Tensor, Tensor, Tensor, Tensor)", _empty, _many
    )
    def values(x: Tensor, y: Tensor, c: Tensor, keep: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return distances(chart, x, y, c, keep)

    @autograd.operator(
        f"{name}_dist_gradients(Tensor g, Tensor x, Tensor y, Tensor c, {kept}, bool by_c) -> (Tensor, Tensor, Tensor)",
        lambda g, x, y, c, *_: (torch.empty_like(x), torch.empty_like(y), torch.empty_like(c)),
        _many_gradients,
    )
    def derivatives(g: Tensor, x: Tensor, y: Tensor, c: Tensor, *kept: Any) -> tuple[Tensor, Tensor, Tensor]:
        return gradients(chart, g, x, y, c, *kept)

    def formula(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
        return chart.formula(wide(x), wide(y), c).to(**result_form(x, y))

    second = autograd.second_of(formula)

    class Distances(autograd.Function):
        @staticmethod
        def forward(x: Tensor, y: Tensor, c: Tensor, keep: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            return values(x, y, c, keep)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: tuple[Tensor, ...]) -> None:
            ctx.save_for_backward(*inputs[:3], *output[1:])
            ctx.mark_non_differentiable(*output[1:])
            ctx.set_materialize_grads(False)  # the zeros would cost more than the rest

        @staticmethod
        def backward(ctx: Any, grad: Tensor | None, *_: Any) -> Any:
            if grad is None:
                return (None,) * 4
            by_c = ctx.needs_input_grad[2]
            return (*autograd.FirstDerivative.apply(derivatives, second, grad, *ctx.saved_tensors, by_c), None)

    def native_values(x: Tensor, y: Tensor, c: Tensor, keep: bool) -> tuple[Tensor, ...]:
        found = native.distances(name, chart.value, x, y, c, keep)
        return distances(chart, x, y, c, keep) if found is None else found

    def native_derivatives(g: Tensor, x: Tensor, y: Tensor, c: Tensor, *others: Any) -> tuple[Tensor, ...]:
        *kept, by_c = others
        if len(kept) == 2:  # of the kernels; the torch code keeps three
            if _native.take(g) and not by_c:
                return *native.gradients(chart.gradient, g, x, y, c, *kept), torch.zeros_like(c)
            _, *kept = distances(chart, x, y, c, True)
        return derivatives(g, x, y, c, *kept, by_c)

    natively = autograd.outside_transforms(native_values, native_derivatives, second)

    def dist(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
        x, y = _of_one_rank(x, y)
        if native.takes(x, y):
            return natively(x, y, c)
        if autograd.in_forward_mode():
            return formula(x, y, c)
        return Distances.apply(*autograd.tell_apart(x, y), c, torch.is_grad_enabled())[0]

    return dist


def _of_one_rank(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates first, leading dimensions would no longer line up."""
    rank = max(x.ndim, y.ndim)
    x, y = (z.reshape(*(1,) * (rank - z.ndim), *z.shape) for z in (x, y))
    return x, y


def _empty(x: Tensor, y: Tensor, c: Tensor, keep: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    shape, dtype = torch.broadcast_shapes(x.shape[:-1], y.shape[:-1]), result_dtype(x, y)
    keep = keep and dtype != torch.float64
    shapes = [(z.shape[-1] + 3, *z.shape[:-1]) for z in (x, y)] + [(3, *shape)]
    xs, ys, pairs = (x.new_empty(z if keep else 0, dtype=torch.float64, device=home(x.device)) for z in shapes)
    return x.new_empty(shape, dtype=dtype), xs, ys, pairs


def _many(op: Callable[..., Any], info: Any, dims: tuple[Any, ...], x: Tensor, y: Tensor, c: Tensor, keep: bool) -> Any:
    """vmap of the distances: leading dimensions broadcast, so that it takes one call, unless the curvatures differ."""
    if dims[2] is not None:
        return autograd.one_after_the_other(op, info, dims, x, y, c, keep)
    x, y = (_in_front(z, dim, info.batch_size) for z, dim in zip((x, y), dims[:2], strict=True))
    result, *kept = op(x, y, c, keep)
    return (result, *kept), (0, *(1 if len(z) else None for z in kept))


def _many_gradients(op: Callable[..., Any], info: Any, dims: tuple[Any, ...], *inputs: Any) -> Any:
    """vmap of the gradients, likewise; that by c is a sum for each item."""
    g, x, y, c, xs, ys, pairs, by_c = inputs
    if by_c or dims[3] is not None:
        return autograd.one_after_the_other(op, info, dims, *inputs)
    g, x, y = (_in_front(z, dim, info.batch_size) for z, dim in zip((g, x, y), dims[:3], strict=True))
    if len(pairs):
        kept = zip((xs, ys, pairs), dims[4:7], strict=True)
        xs, ys, pairs = (_in_front(z, dim, info.batch_size, place=1) for z, dim in kept)
    return op(g, x, y, c, xs, ys, pairs, by_c), (0, 0, None)


def _in_front(x: Tensor, dim: int | None, count: int, place: int = 0) -> Tensor:
    """x with its mapped dimension at the place; repeated there if it has none."""
    if dim is not None:
        return x.movedim(dim, place)
    return x.unsqueeze(place).expand(*x.shape[:place], count, *x.shape[place:])
