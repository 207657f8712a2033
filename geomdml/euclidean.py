"""Euclidean space, with the two functions that every space of the library has."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from geomdml import _native
from geomdml._core import autograd, checks, euclidean_native
from geomdml._core.batches import over_batches
from geomdml._core.numerics import (
    add_product,
    direction,
    home,
    norm,
    product_width,
    result_dtype,
    result_form,
    tolerated_loss,
    unequal_entries,
    wide,
)

__all__ = ["clip_norm", "dist", "pairwise_dist"]


def __dir__() -> list[str]:
    return __all__


_BLOCK = 1024
_TINY, _HUGE = 1e-280, 1e300  # within, sums of squares neither vanish nor overflow


def dist(x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch"]:
    """Euclidean distance ‖x − y‖.

    Args:
        x, y: (..., D) vectors; leading dimensions broadcast.

    Returns:
        (...) distances, at least float32; the gradient between equal vectors is 0.

    Raises:
        ValueError, TypeError: shapes that do not match, dtypes that are not real floating point.

    Source: the definition, evaluated in float64.

    >>> dist(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0]))
    tensor(5.)
    """
    checks.vectors(x=x, y=y)
    checks.finite(x=x, y=y)
    return norm(wide(x) - wide(y)).squeeze(-1).to(**result_form(x, y))


@over_batches
def pairwise_dist(
    x: Float[Tensor, "*#batch B D"], y: Float[Tensor, "*#batch P D"], *, squared: bool = False
) -> Float[Tensor, "*#batch B P"]:
    """All Euclidean distances between two lists of vectors, or their squares, in O(B·P) memory.

    Args:
        x, y: (..., B, D) and (..., P, D) vectors; leading dimensions broadcast.
        squared: return ‖x − y‖² instead.

    Returns:
        (..., B, P) distances, at least float32; exactly 0 for equal vectors, with gradient 0.

    Raises:
        ValueError, TypeError: as `dist`.

    Source: ‖x‖² + ‖y‖² − 2⟨x, y⟩ in float64, and the difference itself where that cancels.

    >>> x = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    >>> pairwise_dist(x, x)
    tensor([[0., 5.],
            [5., 0.]])
    """
    checks.rows(x=x, y=y)
    checks.finite(x=x, y=y)
    if autograd.in_forward_mode():
        apart = dist(x.unsqueeze(1), y.unsqueeze(0))
        return apart.square() if squared else apart
    if euclidean_native.takes(x, y):
        return _NativeDistances.apply(x.contiguous(), y.contiguous(), squared)
    return _Distances.apply(*autograd.tell_apart(x, y), squared).to(x.device)


def _empty(x: Tensor, y: Tensor, *_: Any) -> Tensor:
    return x.new_empty((x.shape[0], y.shape[0]), dtype=result_dtype(x, y), device=home(x.device))


@autograd.operator("euclidean_distances(Tensor x, Tensor y, bool squared) -> Tensor", _empty)
def _distances(x: Tensor, y: Tensor, squared: bool) -> Tensor:
    result, tolerated, width = _empty(x, y), tolerated_loss(x, y), product_width(x, y)
    rows = [(i, *_squares(x[i])) for i in _blocks(x)]
    for j in _blocks(y):
        column, column_squares = _squares(y[j])
        for i, row, row_squares in rows:
            tile = add_product(row_squares + column_squares.T, row, column, width, alpha=-2.0)
            near = _find_cancelled(tile, row_squares, column_squares, tolerated)
            tile.masked_fill_(near, 0.0)
            if not squared:
                tile.sqrt_()
            for k, m in unequal_entries(near, x[i], y[j]):
                apart = norm(row[k] - column[m]).squeeze(-1)
                tile[k, m] = apart**2 if squared else apart
            result[i, j] = tile
    return result


@autograd.operator(
    "euclidean_gradients(Tensor g, Tensor x, Tensor y, Tensor dist, bool squared) -> (Tensor, Tensor)",
    lambda g, x, y, *_: (torch.empty_like(x), torch.empty_like(y)),
)
def _gradients(g: Tensor, x: Tensor, y: Tensor, dist: Tensor, squared: bool) -> tuple[Tensor, Tensor]:
    by_x, by_y = (torch.zeros_like(z, dtype=torch.float64) for z in (x, y))
    tolerated = tolerated_loss(x, y)
    rows = [(i, *_squares(x[i])) for i in _blocks(x)]
    for j in _blocks(y):
        column, column_squares = _squares(y[j])
        for i, row, row_squares in rows:
            tile, pull = wide(dist[i, j]), wide(g[i, j])
            near = _find_cancelled(tile if squared else tile * tile, row_squares, column_squares, tolerated)
            weight = (2 * pull if squared else pull / tile).masked_fill_(near, 0.0)
            by_x[i] += weight.sum(1, keepdim=True) * row - weight @ column
            by_y[j] += weight.sum(0).unsqueeze(1) * column - weight.T @ row
            for k, m in unequal_entries(near, x[i], y[j]):
                apart = row[k] - column[m]
                single = pull[k, m].unsqueeze(-1) * (2 * apart if squared else direction(apart)[0])
                by_x[i].index_add_(0, k, single)
                by_y[j].index_add_(0, m, single, alpha=-1.0)
    return by_x.to(x), by_y.to(y)


class _Distances(autograd.Function):
    """‖x_i − y_j‖ or its square, tile by tile."""

    @staticmethod
    def forward(x: Tensor, y: Tensor, squared: bool) -> Tensor:
        return _distances(x, y, squared)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: Tensor) -> None:
        ctx.squared = inputs[2]
        ctx.save_for_backward(*inputs[:2], output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        return *_Gradients.apply(grad, *ctx.saved_tensors, ctx.squared), None


class _NativeDistances(torch.autograd.Function):
    """As `_Distances`, outside of torch's compiler and transforms."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, squared: bool) -> Tensor:
        found = euclidean_native.distances(x, y, squared)
        ctx.squared, ctx.native = squared, found is not None
        result = _distances(x, y, squared) if found is None else found
        ctx.save_for_backward(x, y, result)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, y, kept = ctx.saved_tensors
        if ctx.native and _native.take(grad) and not torch.is_grad_enabled():
            return *euclidean_native.gradients(grad, x, y, kept, ctx.squared), None
        return *_Gradients.apply(grad, x, y, kept, ctx.squared), None


class _Gradients(autograd.Function):
    """Σ_j w_ij (x_i − y_j) and Σ_i w_ij (y_j − x_i), with w = g/‖x_i − y_j‖, or 2g where distances are squared."""

    @staticmethod
    def forward(g: Tensor, x: Tensor, y: Tensor, dist: Tensor, squared: bool) -> tuple[Tensor, Tensor]:
        return _gradients(g, x, y, dist, squared)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: tuple[Tensor, Tensor]) -> None:
        ctx.squared = inputs[4]
        ctx.save_for_backward(*inputs[:4])

    @staticmethod
    def backward(ctx: Any, a: Tensor, b: Tensor) -> Any:
        g, x, y, dist = (wide(z) for z in ctx.saved_tensors)
        a, b = wide(a), wide(b)
        rate = (
            torch.full_like(g, 2.0) if ctx.squared else torch.where(dist > 0, 1 / torch.where(dist > 0, dist, 1.0), 0.0)
        )
        # ⟨a_i − b_j, x_i − y_j⟩, the derivative by w
        slope = (a * x).sum(-1, keepdim=True) + (b * y).sum(-1) - a @ y.T - x @ b.T
        weight = rate * g
        by_x = weight.sum(1, keepdim=True) * a - weight @ b
        by_y = weight.sum(0).unsqueeze(1) * b - weight.T @ a
        by_dist = None if ctx.squared else (-weight * rate * slope).to(ctx.saved_tensors[3])
        of = ctx.saved_tensors
        return (rate * slope).to(of[0]), by_x.to(of[1]), by_y.to(of[2]), by_dist, None


def _squares(x: Tensor) -> tuple[Tensor, Tensor]:
    """x in float64 and its squared norms, (B, 1)."""
    x = wide(x)
    return x, (x * x).sum(-1, keepdim=True)


def _find_cancelled(squared: Tensor, rows: Tensor, columns: Tensor, tolerated: float) -> Tensor:
    """Where a squared distance is too small beside ‖x‖² + ‖y‖² to have its digits, or these leave float64."""
    near = squared < tolerated * rows + tolerated * columns.T
    if float(rows.amin() + columns.amin()) < _TINY or not float(rows.amax() + columns.amax()) < _HUGE:
        scale = rows + columns.T
        near |= (scale < _TINY) | ~(scale < _HUGE)
    return near


def _blocks(points: Tensor) -> Iterator[slice]:
    """Points at a time: what is made of them in float64 stays in the caches."""
    return (slice(start, start + _BLOCK) for start in range(0, len(points), _BLOCK))


def clip_norm(v: Float[Tensor, "*#batch D"], max_norm: float) -> Float[Tensor, "*#batch D"]:
    """min(1, r/‖v‖)·v: vectors longer than r = `max_norm` cut back to it, the others untouched.

    Args:
        v: (..., D) vectors.
        max_norm: the largest norm allowed, > 0; infinity clips nothing.

    Returns:
        (..., D) vectors, at least float32. The gradient at 0 is the identity (the printed formula's is NaN).

    Raises:
        ValueError, TypeError: max_norm ≤ 0 or NaN, a dtype that is not real floating point.

    Source: Guo et al., "Clipped hyperbolic classifiers" (2022), equation (8); CHEST uses r = 2.3.

    >>> clip_norm(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), 1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    checks.vectors(v=v)
    if not max_norm > 0:
        raise ValueError(f"max_norm = {max_norm}; expected a number above 0")
    wanted = v.to(home(v.device), result_dtype(v))
    if checks.values_are_checked(v) and v.numel() and _all_shorter(wanted.detach(), max_norm):
        return wanted.to(v.device, copy=wanted is v)  # never the caller's own tensor
    radius = torch.full((), max_norm, dtype=torch.float64, device=wanted.device)
    return autograd.smooth(_clip, _clip_gradient, wanted, radius).to(v.device)


def _all_shorter(v: Tensor, radius: float) -> bool:
    """Whether no vector comes near the radius: the usual case, told from norms in the vectors' own precision."""
    return float(torch.linalg.vector_norm(v, dim=-1).amax()) < 0.999 * radius


def _clip(v: Tensor, radius: Tensor) -> Tensor:
    return v * _share(v, radius)[0].to(v)


def _clip_gradient(grad: Tensor, v: Tensor, radius: Tensor) -> tuple[Tensor, None]:
    """r/‖v‖·(g − ⟨g, v̂⟩v̂) for vectors that are cut back, g for the others."""
    share, length, longer = _share(v, radius)
    unit = v * torch.where(longer, 1 / length, 0.0).to(v)
    along = torch.linalg.vecdot(grad, unit).unsqueeze(-1)
    return share.to(v) * torch.addcmul(grad, along, unit, value=-1), None


def _share(v: Tensor, radius: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """min(1, r/‖v‖), ‖v‖ (1 for the others), and which vectors are longer than r."""
    # The squares of float32 numbers stay within float64; those of float64 numbers need care.
    if v.dtype == torch.float64:
        length = norm(v)
    else:
        length = torch.linalg.vector_norm(v, dim=-1, keepdim=True, dtype=radius.dtype)
    longer = length > radius * (1 + 4 * torch.finfo(length.dtype).eps)  # but for the rounding of the norm itself
    length = torch.where(longer, length, 1.0)
    return torch.where(longer, radius / length, 1.0), length, longer
