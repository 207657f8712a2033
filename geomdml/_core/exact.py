"""Sums, products and differences with all their digits, where the ordinary ones would cancel.

`boundary_gap` is 1 − c‖x‖² near the boundary of the ball; `across`, `chord`, `half_sine` and `difference_of_norms` are
small between two near vectors.
"""

import torch
from torch import Tensor

from geomdml._core.numerics import TensorOptions, direction, norm, wide


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
