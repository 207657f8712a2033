"""Precision, norms and logarithms: the numerical tricks of the library, each with its reason.

Those that keep all digits of a difference are in `exact`, functions with a series at 0 in `series`.

Everything here works in `wide` precision (float64): a distance between float32 points far out in the ball needs digits
that float32 arithmetic has already lost, whatever the formula.
"""

import math
from collections.abc import Iterator
from typing import TypedDict

import torch
from torch import Tensor

LOG2 = math.log(2.0)
LARGEST_RADIUS = 170.0  # at unit curvature: sinh²(170) is a float64 with room for its square


def home(device: torch.device) -> torch.device:
    """Where to compute in float64: on the device itself, or beside it if it has none (Apple's)."""
    return torch.device("cpu") if device.type == "mps" else device


def wide(x: Tensor) -> Tensor:
    """The tensor in the precision in which the library computes."""
    return x.to(home(x.device), torch.float64)


class TensorOptions(TypedDict):
    """Device and dtype, for `Tensor.to`."""

    device: torch.device
    dtype: torch.dtype


def result_form(*tensors: Tensor) -> TensorOptions:
    """Where a result goes: to the first input's device, in the `result_dtype`."""
    return {"device": tensors[0].device, "dtype": result_dtype(*tensors)}


def result_dtype(*tensors: Tensor) -> torch.dtype:
    """The dtype of a result: that of the inputs, but at least float32: no bf16 point is far from the centre."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def curvature(c: float | Tensor, like: Tensor) -> Tensor:
    """c, or another number, as a 0-d float64 tensor beside `like`; gradients flow through it."""
    if isinstance(c, Tensor):
        return c.to(home(like.device), torch.float64)
    return torch.full((), c, dtype=torch.float64, device=home(like.device))  # a copy of c a GPU would wait for


def norm(x: Tensor) -> Tensor:
    """Euclidean norm over the last dimension, kept; its gradient at 0 is 0.

    The square root has an infinite slope at 0, and `where(n > 0, sqrt(n), 0)` alone does not help: its backward pass
    multiplies that infinity by zero, and the NaN flows on. So the root is never taken of zero. Dividing by the largest
    entry first keeps the squares from overflowing and, at radius 1e-200, from vanishing; by one with all its digits, or
    the gradient, which passes through it, would lose them too. NaN stays NaN.
    """
    largest = x.detach().abs().amax(-1, keepdim=True) if x.shape[-1] else x.new_zeros((*x.shape[:-1], 1))
    nonzero, form = largest != 0, torch.finfo(x.dtype)
    scale = largest.clamp(min=form.tiny / form.eps)
    squares = ((x / scale) ** 2).sum(-1, keepdim=True)
    return torch.where(nonzero, torch.where(nonzero, squares, 1.0).sqrt() * scale, 0.0)


def direction(x: Tensor) -> tuple[Tensor, Tensor]:
    """(x/‖x‖, ‖x‖), with 0 for the direction of 0."""
    length = norm(x)
    return x / torch.where(length > 0, length, 1.0), length


def log_sinh(x: Tensor) -> Tensor:
    """log sinh x for x ≥ 0: −inf at 0, and no overflow however large x is."""
    return x + torch.log(-torch.expm1(-2 * x)) - LOG2


def log_cosh(x: Tensor) -> Tensor:
    """log cosh x without overflow."""
    return x.abs() + torch.log1p(torch.exp(-2 * x.abs())) - LOG2


def log_add(a: Tensor, b: Tensor) -> Tensor:
    """log(eᵃ + eᵇ), the same to the last bit wherever a number stands in a tensor.

    torch.logaddexp, sinh, cosh, atanh and hypot round differently in the remainder of a tensor that fills no SIMD
    register. `dist` of the spaces does without them, so that a pair has the same distance in any batch.
    """
    larger = torch.maximum(a, b)
    return larger + torch.log1p(torch.exp(torch.where(larger > -torch.inf, torch.minimum(a, b) - larger, 0.0)))


def asinh_exp(p: Tensor) -> Tensor:
    """asinh(exp(p)): for p > 0 as p + log(1 + √(1 + exp(−2p))), where exp(p) may be too large for a number."""
    large = p > 0
    small_value = torch.asinh(torch.exp(torch.where(large, 0.0, p)))
    large_value = p + torch.log1p(torch.sqrt(1 + torch.exp(-2 * torch.where(large, p, 0.0))))
    return torch.where(large, large_value, small_value)


def law_of_cosines(A: Tensor, B: Tensor, apart: Tensor, log_sine: Tensor) -> Tensor:
    """δ from sinh²(δ/2) = sinh²((A − B)/2) + sinh A · sinh B · sin²(θ/2), given A − B and log sin(θ/2) apart.

    Both terms are positive, so that nothing cancels; in logarithms, so that nothing overflows.
    """
    across = log_sinh(A) + log_sinh(B) + 2 * log_sine
    return 2 * asinh_exp(log_add(2 * log_sinh(apart.abs() / 2), across) / 2)


def sinh_half_squared(A: Tensor, B: Tensor, s: Tensor) -> Tensor:
    """sinh²(δ/2) by the same law, of radii that are neither tiny nor far out; s = sin²(θ/2)."""
    return ((A - B) / 2).sinh() ** 2 + A.sinh() * B.sinh() * s


def sinh_half_difference(
    sinh_a: Tensor, cosh_a: Tensor, sinh_b: Tensor, cosh_b: Tensor, out: Tensor | None = None
) -> Tensor:
    """sinh((A − B)/2) for all pairs, from what each point brings: the hyperbolic sines and cosines of A/2 and B/2."""
    return torch.mul(sinh_a, cosh_b, out=out).addcmul_(cosh_a, sinh_b, value=-1)


def product_width(*inputs: Tensor) -> int:
    """How many dimensions a matrix product of such inputs adds up at a time, for `add_product`.

    A product adds its terms one after another, so that its rounding grows with their number: to 1e-14 at 2,048, which a
    float64 result would show.
    """
    return 64 if result_dtype(*inputs) == torch.float64 else max(1, inputs[0].shape[-1])


def add_product(
    start: Tensor, x: Tensor, y: Tensor, width: int, *, beta: float = 1.0, alpha: float, out: Tensor | None = None
) -> Tensor:
    """beta · start + alpha · x yᵀ of (B, D) and (P, D), some dimensions at a time."""
    first, *others = zip(x.split(width, 1), y.split(width, 1), strict=True)
    result = torch.addmm(start, first[0], first[1].T, beta=beta, alpha=alpha, out=out)
    if others:  # addmm_ would go on adding to the sum term by term
        product = torch.empty_like(result)
        for part, other in others:
            result.add_(torch.mm(part, other.T, out=product), alpha=alpha)
    return result


def tolerated_loss(*inputs: Tensor) -> float:
    """How far a squared distance may cancel, as a share of ‖x‖² + ‖y‖², before its digits are missed in the result.

    The float64 Gram matrix has 16 digits; a float32 result needs 8 of them, a float64 result nearly all.
    """
    return 1e-8 if result_dtype(*inputs) == torch.float32 else 0.1


def entries(mask: Tensor, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows and columns of the true entries of a mask, in blocks for which vectors of length `width` fit in memory."""
    block = max(1, 2**22 // max(1, width))
    if mask.any():
        rows, columns = torch.nonzero(mask, as_tuple=True)
        yield from zip(rows.split(block), columns.split(block), strict=True)


def unequal_entries(mask: Tensor, x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """`entries` for rows x and columns y that are not equal: between equal points, distance and gradient are 0."""
    for i, j in entries(mask, x.shape[-1]):
        unequal = (x[i] != y[j]).any(-1)
        if bool(unequal.any()):
            yield i[unequal], j[unequal]


def diagonal(matrix: Tensor) -> Tensor:
    """(N, N) true on the diagonal, for any N in one graph of torch.compile, where fill_diagonal_ makes one for each."""
    return torch.eye(matrix.shape[-1], dtype=torch.bool, device=matrix.device)


def asinh_root(q: Tensor) -> Tensor:
    """asinh √q for q ≥ 0 and √q far from overflow, by log1p: several times faster than torch.asinh, and as exact."""
    root, above = q.sqrt(), (q + 1).sqrt_().add_(1)
    return torch.div(q, above, out=above).add_(root).log1p_()
