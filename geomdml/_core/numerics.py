"""The numerical tricks of the library, each with its reason; no other module has any.

Everything here works in `wide` precision (float64): a distance between float32 points far out in the ball needs digits
that float32 arithmetic has already lost, whatever the formula.
"""

import math
from collections.abc import Callable, Iterator
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


_SMALL = 1e-2  # below, four terms of a series in z² have all digits


def tanh_ratio(z: Tensor) -> Tensor:
    """tanh(z)/z, and 1 at z = 0."""
    return ratio(torch.tanh, (1.0, -1 / 3, 2 / 15, -17 / 315), z)


def sinh_ratio(z: Tensor) -> Tensor:
    """sinh(z)/z, and 1 at z = 0."""
    return ratio(torch.sinh, _SINH, z)


def asinh_ratio(z: Tensor) -> Tensor:
    """asinh(z)/z, and 1 at z = 0."""
    return ratio(torch.asinh, _ASINH, z)


def sinh_ratio_of_square(t: Tensor) -> Tensor:
    """sinh(√t)/√t, which is smooth in t."""
    return even(lambda z: torch.sinh(z) / z, _SINH, t)


def asinh_ratio_of_square(t: Tensor) -> Tensor:
    """asinh(√t)/√t, which is smooth in t."""
    return even(lambda z: torch.asinh(z) / z, _ASINH, t)


_SINH = 1.0, 1 / 6, 1 / 120, 1 / 5040
_ASINH = 1.0, -1 / 6, 3 / 40, -5 / 112


def even(f: Callable[[Tensor], Tensor], series: tuple[float, ...], t: Tensor) -> Tensor:
    """f(√t) for a function with such a series in t: by the root alone, it would lose its derivatives at 0."""
    small = t < _SMALL**2
    far = torch.where(small, 1.0, t).sqrt()
    return torch.where(small, _polynomial(series, torch.where(small, t, 0.0)), f(far))


def ratio(f: Callable[[Tensor], Tensor], series: tuple[float, ...], z: Tensor) -> Tensor:
    """f(z)/z. The derivatives of a quotient cancel near 0, those of its series in z² do not."""
    small = z.abs() < _SMALL
    near, far = torch.where(small, z, 0.0), torch.where(small, 1.0, z)
    return torch.where(small, _polynomial(series, near * near), f(far) / far)


def _polynomial(series: tuple[float, ...], t: Tensor) -> Tensor:
    a, b, c, d = series
    return a + t * (b + t * (c + t * d))


def two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(s, e) with s = fl(a + b) and s + e = a + b exactly (Knuth)."""
    s = a + b
    bb = s - a
    return s, (a - (s - bb)) + (b - bb)


def two_product(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(p, e) with p = fl(a·b) and p + e = a·b exactly (Dekker, with Veltkamp's splitting)."""
    p = a * b
    a_high, a_low = _split(a)
    b_high, b_low = _split(b)
    return p, ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low


def _split(a: Tensor) -> tuple[Tensor, Tensor]:
    t = a * (134217729.0 if a.dtype == torch.float64 else 4097.0)  # 2**27 + 1, 2**12 + 1: halves of 53 and 24 bits
    high = t - (t - a)
    return high, a - high


def boundary_gap(x: Tensor, c: Tensor) -> Tensor:
    """1 − c‖x‖², kept, with all its digits for a float64 x up to the last float inside the ball.

    Near the boundary the naive form subtracts two numbers that agree in almost every digit. So the squares, and the
    errors of their rounding, are cut at two binary places, 50 and 94 bits below 1/c (fewer for very long vectors, of
    which there are more to add): what lies above a place adds up without any rounding, and what lies below both is too
    small for its rounding to matter. The exact value replaces
    the naive one, whose gradient is right.
    """
    naive = 1 - c * (x * x).sum(-1, keepdim=True)
    with torch.no_grad():
        squares, errors = two_product(x, x)
        unit = power_of_two(1 / c)
        lowest = 2.0 ** (max(0, x.shape[-1].bit_length() - 8) - 94)
        upper, rest = _cut(squares, unit * 2.0**-50)
        (middle, rest), (middle_error, rest_error) = (_cut(part, unit * lowest) for part in (rest, errors))
        high, low = upper.sum(-1, keepdim=True), (rest + rest_error).sum(-1, keepdim=True)
        (p, p_error), (q, q_error) = (
            two_product(c, part) for part in (high, middle.sum(-1, keepdim=True) + middle_error.sum(-1, keepdim=True))
        )
        gap, first = two_sum(1 - p, -q)
        gap, second = two_sum(gap, -p_error)
        exact = gap + (first + second - q_error - c * low)
    return naive + (exact - naive).detach()


def _cut(x: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """x rounded to multiples of a power of two, and the rest, exactly; for |x| < 2**51 of them."""
    anchor = 1.5 * 2.0**52 * place
    upper = (x + anchor) - anchor
    return upper, x - upper


def power_of_two(x: Tensor) -> Tensor:
    """The power of two in (x, 2x], of float64 x > 0; 2^−1022 for 0 and for subnormal numbers.

    From the bits of x, for what torch.compile makes of `torch.frexp` is refused by C++ compilers.
    """
    exponent = (x.contiguous().view(torch.int64) >> 52) + 1  # biased by 1023; the mantissa falls away
    return (exponent.clamp(1, 2046) << 52).view(torch.float64)


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


def round_inside(x: Tensor, c: Tensor, form: TensorOptions) -> Tensor:
    """x, of the closed ball, in its final dtype; where that falls outside, the last floats inside.

    That is a rounding, and like any rounding it leaves the gradient alone.
    """
    dtype = form["dtype"]
    with torch.no_grad():
        rounded = x.to(dtype)
        inside = boundary_gap(wide(rounded), c) > 0
        # The norm of a float32 vector is exact here; that of a float64 vector has rounding errors of its own.
        margin = torch.finfo(dtype).eps * (1 if dtype == torch.float32 else 4)
        length = torch.where(inside, 1.0, c.sqrt() * norm(x))
        shift = torch.where(inside, rounded, (x * ((1 - margin) / length)).to(dtype)) - x
    return (x + shift).to(**form)


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


def across(u: Tensor, v: Tensor) -> Tensor:
    """The part of v at a right angle to u, without gradient, with all its digits however small it is beside v.

    With u_k the largest entry of u, u_k v − v_k u is u_k times this part plus a multiple of u; its products are formed
    with twice the digits, so that what they have in common cancels exactly.
    """
    with torch.no_grad():
        u_hat, _ = direction(u)
        u, v = torch.broadcast_tensors(_to_unit_scale(u), v)
        largest = u.abs().argmax(-1, keepdim=True)
        u_k, v_k = u.gather(-1, largest), v.gather(-1, largest)
        (p, p_error), (q, q_error) = two_product(u_k, v), two_product(v_k, u)
        z = torch.where(u_k != 0, ((p - q) + (p_error - q_error)) / torch.where(u_k != 0, u_k, 1.0), v)
        return z - (z * u_hat).sum(-1, keepdim=True) * u_hat


def chord(u: Tensor, v: Tensor) -> Tensor:
    """û − v̂, one to one, without gradient, with all its digits however near the directions are: 0 for one ray."""
    u_hat, _ = direction(u)
    _, length = direction(v)
    return 2 * half_sine(u, v).unsqueeze(-1) ** 2 * u_hat - across(u, v) / torch.where(length > 0, length, 1.0)


def half_sine(u: Tensor, v: Tensor) -> Tensor:
    """sin(θ/2), θ the angle between u and v, one to one, with all its digits: exactly 0 for vectors on one ray.

    ‖û − v̂‖/2 carries the rounding of the two unit vectors, about 1e-16: not small far out in hyperbolic space, where it
    is multiplied by sinh A · sinh B. For small angles the part of v `across` u is right.
    """
    (u_hat, _), (v_hat, _) = direction(u), direction(v)
    naive = norm(u_hat - v_hat).squeeze(-1) / 2
    with torch.no_grad():
        small, v = (naive < 0.3) & (v != 0).any(-1), _to_unit_scale(v)
        sine = norm(across(u, v)).squeeze(-1) / torch.where(small, norm(v).squeeze(-1), 1.0)
        exact = sine / (2 * torch.sqrt(1 - naive.clamp(max=0.5) ** 2))
    return naive + torch.where(small, exact - naive, 0.0).detach()


def _to_unit_scale(x: Tensor) -> Tensor:
    """x over a power of two, exactly, so that its largest entry is about 1 and its products stay in range."""
    return x / power_of_two(x.detach().abs().amax(-1, keepdim=True))


def difference_of_norms(u: Tensor, v: Tensor) -> Tensor:
    """‖u‖ − ‖v‖, one to one, as ⟨u − v, u + v⟩/(‖u‖ + ‖v‖): near-duplicates do not cancel."""
    total = norm(u) + norm(v)
    return ((u - v) * ((u + v) / torch.where(total > 0, total, 1.0))).sum(-1)


def asinh_root(q: Tensor) -> Tensor:
    """asinh √q for q ≥ 0 and √q far from overflow, by log1p: several times faster than torch.asinh, and as exact."""
    root, above = q.sqrt(), (q + 1).sqrt_().add_(1)
    return torch.div(q, above, out=above).add_(root).log1p_()
