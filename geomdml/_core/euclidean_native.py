"""All Euclidean distances by the kernels in C (`geomdml/_native/euclidean.c`): float32 vectors on the CPU.

As `geomdml._core.all_pairs.native`: short distances are taken one at a time in the backward pass, the others through
products of matrices, in float32 unless too many are short.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from geomdml import _native
from geomdml._core import autograd

SOFT, NEAR = 1e-3, 1e-8  # of a squared distance beside ‖x‖² + ‖y‖²; below, a product in float32 or float64 loses digits
FEW = 0.01  # of all pairs: so many may be taken one at a time
BLOCK = 1024  # vectors at a time: what is made of them stays in the caches

_lengths = _native.declare("lengths", "piipp", "i")
_gaps = _native.declare("gaps", "ppppiiiiipipi")
_short = _native.declare("short", "pipiipd", "i")
_pulls = {
    torch.float64: _native.declare("pulls", "ppppiiiiipiipiddpipppp"),
    torch.float32: _native.declare("pulls_single", "ppppiiiiipiipiddpipppp"),
}
_pulled = {
    torch.float64: _native.declare("pulled", "piipdpppp"),
    torch.float32: _native.declare("pulled_single", "piipdpppp"),
}


def takes(x: Tensor, y: Tensor) -> bool:
    """Whether the kernels take lists of vectors."""
    return _native.take(x, y) and not autograd.in_forward_mode() and x.numel() > 0 < y.numel()


def distances(x: Tensor, y: Tensor, squared: bool) -> Tensor | None:
    """(B, P) distances or their squares; None where a vector is not ordinary. x and y are contiguous."""
    (b, d), p = x.shape, len(y)
    of_x, wide_x = _measured(x, True)
    of_y, wide_y = _measured(y, True)
    if wide_x is None or wide_y is None:
        return None
    result = x.new_empty((b, p))
    for j in _blocks(y):
        for i in _blocks(x):
            product = wide_x[i] @ wide_y[j].T
            tile = result[i, j]
            given = x[i].data_ptr(), of_x[i].data_ptr(), y[j].data_ptr(), of_y[j].data_ptr(), tile.shape[1], d, squared
            into = product.data_ptr(), tile.shape[1], tile.data_ptr(), p
            _native.shared(lambda *rows, given=given, into=into: _gaps(*given, *rows, *into), *tile.shape)
    return result


def gradients(g: Tensor, x: Tensor, y: Tensor, kept: Tensor, squared: bool) -> tuple[Tensor, Tensor]:
    """The gradient of `distances`, which were kept, by x and y."""
    (b, d), p = x.shape, len(y)
    (of_x, _), (of_y, _) = _measured(x), _measured(y)
    short = _short(of_x.data_ptr(), b, of_y.data_ptr(), p, squared, kept.data_ptr(), SOFT)
    scale = float(torch.linalg.vector_norm(g[:1, :1] if g.stride() == (0, 0) else g, torch.inf))
    few = short <= FEW * kept.numel() and 0 < scale < torch.inf
    dtype, below, scale = (torch.float32, SOFT, scale) if few else (torch.float64, NEAR, 1.0)
    centre = y.mean(0, dtype=torch.float64)
    rows, columns = ((z - centre).to(dtype) for z in (x, y))
    turns = torch.zeros_like(rows), torch.zeros_like(columns)
    sums = of_x.new_zeros(b), of_y.new_zeros(p)
    singles = (of_x.new_zeros(x.shape), of_y.new_zeros(y.shape)) if short else (None, None)
    for j in _blocks(y):
        for i in _blocks(x):
            weights, pull, gap = rows.new_empty(kept[i, j].shape), g[i, j], kept[i, j]
            single = [None if z is None else z[part].data_ptr() for z, part in zip(singles, (i, j), strict=True)]
            _pulls[dtype](
                x[i].data_ptr(), of_x[i].data_ptr(), y[j].data_ptr(), of_y[j].data_ptr(), gap.shape[1], d, squared,
                0, len(gap), pull.data_ptr(), *pull.stride(), gap.data_ptr(), p, below, scale,
                weights.data_ptr(), gap.shape[1], sums[0][i].data_ptr(), sums[1][j].data_ptr(),
                *single,
            )  # fmt: skip
            turns[0][i].addmm_(weights, columns[j])
            turns[1][j].addmm_(weights.T, rows[i])
    by_x, by_y = (
        _finish(z, turn, scale, centre, total, single)
        for z, turn, total, single in zip((x, y), turns, sums, singles, strict=True)
    )
    return by_x, by_y


def _finish(x: Tensor, turn: Tensor, scale: float, centre: Tensor, sums: Tensor, single: Tensor | None) -> Tensor:
    out, more = torch.empty_like(x), None if single is None else single.data_ptr()
    of_points = turn.data_ptr(), scale, centre.data_ptr(), sums.data_ptr(), more
    _pulled[turn.dtype](x.data_ptr(), *x.shape, *of_points, out.data_ptr())
    return out


def _measured(x: Tensor, widened: bool = False) -> tuple[Tensor, Tensor | None]:
    """Squared lengths, and where asked for the vectors in float64: None where one is not ordinary."""
    squares = x.new_empty(len(x), dtype=torch.float64)
    wide = x.new_empty(x.shape, dtype=torch.float64) if widened else None
    ordinary = _lengths(x.data_ptr(), *x.shape, squares.data_ptr(), None if wide is None else wide.data_ptr())
    return squares, wide if ordinary else None


def _blocks(points: Tensor) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, len(points), BLOCK))
