"""Functions with a series at 0, where the derivatives of a quotient cancel and those of the series do not."""

from collections.abc import Callable

import torch
from torch import Tensor

from geomdml._core.checks import none_of

_SMALL = 1e-2  # below, four terms of a series in z² have all digits
_SINH = 1.0, 1 / 6, 1 / 120, 1 / 5040
_ASINH = 1.0, -1 / 6, 3 / 40, -5 / 112


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


def even(f: Callable[[Tensor], Tensor], series: tuple[float, ...], t: Tensor) -> Tensor:
    """f(√t) for a function with such a series in t: by the root alone, it would lose its derivatives at 0."""
    small = t < _SMALL**2
    if none_of(small):
        return f(t.sqrt())
    far = torch.where(small, 1.0, t).sqrt()
    return torch.where(small, _polynomial(series, torch.where(small, t, 0.0)), f(far))


def ratio(f: Callable[[Tensor], Tensor], series: tuple[float, ...], z: Tensor) -> Tensor:
    """f(z)/z. The derivatives of a quotient cancel near 0, those of its series in z² do not."""
    small = z.abs() < _SMALL
    if none_of(small):
        return f(z) / z
    near, far = torch.where(small, z, 0.0), torch.where(small, 1.0, z)
    return torch.where(small, _polynomial(series, near * near), f(far) / far)


def _polynomial(series: tuple[float, ...], t: Tensor) -> Tensor:
    a, b, c, d = series
    return a + t * (b + t * (c + t * d))
