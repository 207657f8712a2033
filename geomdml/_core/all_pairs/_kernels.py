"""Triton's kernels for a tile of pairs; imported where a GPU or a test asks for them."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, COLUMNS = 16, 64  # of a tile, for one program


def launch(kernel: Any, tile: Tensor, *arguments: Any) -> None:
    """A kernel over all of a tile (B, P); each tensor comes with its strides."""
    n, m = tile.shape
    given: list[Any] = []
    for argument in (tile, *arguments):
        given += [argument, *argument.stride()] if isinstance(argument, Tensor) else [argument]
    grid = (triton.cdiv(n, ROWS), triton.cdiv(m, COLUMNS))
    with torch.cuda.device_of(tile):  # Triton launches on the current device
        # Without fused multiply-adds, so that a tile has the same digits as torch's.
        kernel[grid](n, m, *given, ROWS=ROWS, COLUMNS=COLUMNS, enable_fp_fusion=False)


@triton.jit
def distances(
    n, m, share, share_row, share_column, dist, dist_row, dist_column, near, near_row, near_column,
    a, a_row, a_column, b, b_row, b_column, c, tolerated, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Distances and near from sinh A · s, whose place q takes."""
    i, j, inside = _pairs(n, m, ROWS, COLUMNS)
    at = share + _offsets(i, j, share_row, share_column)
    s = tl.load(at, inside, 1.0)  # sinh A · s
    sinh_a, sinh_b = _factor(a, i, n, a_row, 0)[:, None], _factor(b, j, m, b_row, 0)[None, :]
    half_sinh_a, half_sinh_b = _factor(a, i, n, a_row, 2)[:, None], _factor(b, j, m, b_row, 2)[None, :]
    half_cosh_a, half_cosh_b = _factor(a, i, n, a_row, 3)[:, None], _factor(b, j, m, b_row, 3)[None, :]
    beyond_a, beyond_b = _factor(a, i, n, a_row, 4)[:, None], _factor(b, j, m, b_row, 4)[None, :]
    apart = half_sinh_a * half_cosh_b - half_cosh_a * half_sinh_b
    q = s * sinh_b + apart * apart
    q = tl.where(q < 0, 0.0, q)  # by rounding, of equal directions; NaN stays NaN
    delta = 2 * _asinh_root(q) + beyond_a + beyond_b
    tl.store(at, q, inside)
    tl.store(dist + _offsets(i, j, dist_row, dist_column), delta / tl.sqrt(tl.load(c)), inside)
    tl.store(near + _offsets(i, j, near_row, near_column), s < tolerated * sinh_a, inside)


@triton.jit
def weights(
    n, m, q, q_row, q_column, g, g_row, g_column, t, t_row, t_column, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    """g/√(q + q²); 0 where q is infinite."""
    i, j, inside = _pairs(n, m, ROWS, COLUMNS)
    x = tl.load(q + _offsets(i, j, q_row, q_column), inside, 1.0)
    slope = tl.load(g + _offsets(i, j, g_row, g_column), inside, 0.0).to(tl.float64)
    root = tl.sqrt(x + x * x)
    tl.store(t + _offsets(i, j, t_row, t_column), slope / tl.where(root < 1e-150, 1e-150, root), inside)


@triton.jit
def soft_minimum(
    n, m, result, result_row, result_column, dist, dist_row, dist_column, dist_proxy, gamma, centers,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Σ_k softmax_k(−d_k/γ)·d_k, of points and classes with so many proxies."""
    i, j, inside = _pairs(n, m, ROWS, COLUMNS)
    least, _, beyond = _weigh(dist + _offsets(i, j, dist_row, dist_column), dist_proxy, inside, gamma, centers)
    tl.store(result + _offsets(i, j, result_row, result_column), least + beyond, inside)


@triton.jit
def soft_minimum_gradient(
    n, m, g, g_row, g_column, dist, dist_row, dist_column, dist_proxy, result, result_row, result_column, result_proxy,
    gamma, centers, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """g w_k (1 − (d_k − m)/γ), m the soft minimum."""
    i, j, inside = _pairs(n, m, ROWS, COLUMNS)
    at = dist + _offsets(i, j, dist_row, dist_column)
    out = result + _offsets(i, j, result_row, result_column)
    slope = tl.load(g + _offsets(i, j, g_row, g_column), inside, 0.0)
    least, total, beyond = _weigh(at, dist_proxy, inside, gamma, centers)
    for k in range(centers):
        d = tl.load(at + k * dist_proxy, inside, 0.0) - least
        weight = tl.exp(-d / gamma) / total
        tl.store(out + k * result_proxy, slope * weight * (1 - (d - beyond) / gamma), inside)


@triton.jit
def _weigh(at, step, inside, gamma, centers):
    """The least d, Σ e_k, e_k = exp(−(d_k − least)/γ), and by how much m is more than the least: its digits stay."""
    least = tl.load(at, inside, 0.0)
    for k in range(1, centers):
        d = tl.load(at + k * step, inside, 0.0)
        least = tl.where(d < least, d, least)
    total = least * 0
    beyond = least * 0
    for k in range(centers):
        d = tl.load(at + k * step, inside, 0.0) - least
        e = tl.exp(-d / gamma)
        total += e
        beyond += e * d
    return least, total, beyond / total


@triton.jit
def _pairs(n, m, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    j = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    return i, j, (i < n)[:, None] & (j < m)[None, :]


@triton.jit
def _offsets(i, j, row, column):
    """Of more than 2³¹ numbers there may be."""
    return i.to(tl.int64)[:, None] * row + j.to(tl.int64)[None, :] * column


@triton.jit
def _factor(side, i, count, row, number: tl.constexpr):
    return tl.load(side + i * row + number, i < count, 0.0)


@triton.jit
def _asinh_root(q):
    """asinh √q = log1p(√q + q/(1 + √(1 + q)))."""
    return _log1p(tl.sqrt(q) + q / (1 + tl.sqrt(1 + q)))


@triton.jit
def _log1p(x):
    """log w · x/(w − 1), w the rounded 1 + x: the rounding leaves both in the same proportion (Kahan)."""
    w = 1 + x
    return tl.where(w == 1, x, tl.log(w) * (x / tl.where(w == 1, 1.0, w - 1)))
