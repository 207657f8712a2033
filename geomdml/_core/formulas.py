"""Distances as formulas of torch's own functions: for derivatives beyond the first, and for forward mode.

The kernels give a distance and its gradient in closed form, fast and at every radius; what is asked of them beyond that
is asked of these. They are right wherever the derivative exists, at the origin too, and give 0 between equal points,
where it does not. All is float64, and one to one: leading dimensions broadcast.

With q = sinh²(δ/2) and δ = √c·d the ball has q = c‖x − y‖²/((1 − c‖x‖²)(1 − c‖y‖²)). In the charts that are polar about
the origin q = sinh²((A − B)/2) + sinh A sinh B s, s = ‖û − v̂‖²/4; but û turns ever faster towards the origin, and there

    q = sinh²(A/2) cosh B + sinh²(B/2) − ⟨p, v̂⟩ sinh B/2,    p = sinh A · û.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from geomdml._core.numerics import boundary_gap, chord, direction, norm
from geomdml._core.polar import LORENTZ, TANGENT, Coordinates

_SMALL = 1.0  # of A: below, and below half the other radius, a point counts as near the origin
_WIDE = 600.0  # of A − B; beyond, its sine is a power of e
_FAR = 300.0  # of the logarithm of q; beyond, δ = log 4q


def ball_dist(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
    """Distances in the Poincaré ball."""
    gaps = boundary_gap(x, c).squeeze(-1) * boundary_gap(y, c).squeeze(-1)
    return _delta(c * (x - y).square().sum(-1) / gaps, torch.zeros_like(gaps)) / c.sqrt()


def tangent_dist(u: Tensor, v: Tensor, c: Tensor) -> Tensor:
    """Distances in the tangent chart."""
    return _polar_dist(u, v, c, TANGENT, _near_in_tangent_chart)


def lorentz_dist(X: Tensor, Y: Tensor, c: Tensor) -> Tensor:
    """Distances in the Lorentz chart."""
    return _polar_dist(X, Y, c, LORENTZ, _near_in_lorentz_chart)


class _Near(NamedTuple):
    """A point near the origin, by functions that are smooth there."""

    p: Tensor  # sinh A · û
    half: Tensor  # sinh²(A/2)


def _near_in_tangent_chart(u: Tensor, c: Tensor) -> _Near:
    t = c * u.square().sum(-1)  # (A/2)²
    return _Near(2 * c.sqrt() * _sinh_ratio(4 * t).unsqueeze(-1) * u, t * _sinh_ratio(t) ** 2)


def _near_in_lorentz_chart(X: Tensor, c: Tensor) -> _Near:
    t = c * X.square().sum(-1)
    return _Near(c.sqrt() * X, t / (2 * (1 + (1 + t).sqrt())))


def _sinh_ratio(t: Tensor) -> Tensor:
    """sinh √t/√t for t ≤ 1, by its series: by the root, which is not smooth at 0, it would lose its derivatives."""
    result = torch.ones_like(t)
    for n in range(9, 0, -1):
        result = 1 + t / (2 * n * (2 * n + 1)) * result
    return result


def _polar_dist(u: Tensor, v: Tensor, c: Tensor, chart: Coordinates, near: Callable[[Tensor, Tensor], _Near]) -> Tensor:
    u, v = torch.broadcast_tensors(u, v)
    A, B = (chart.radius(norm(w).squeeze(-1), c) for w in (u, v))
    near_u, near_v = (A < _SMALL) & (2 * A < B), (B < _SMALL) & (2 * B < A)
    either = near_u | near_v

    def pick(first: Tensor, second: Tensor, other: float) -> Tensor:
        """`first` where u is near the origin, `second` where v is, and a constant elsewhere."""
        of_u, of_v = (mask.reshape(mask.shape + (1,) * (first.ndim - mask.ndim)) for mask in (near_u, near_v))
        return torch.where(of_u, first, torch.where(of_v, second, other))

    from_origin = _from_origin(near(pick(u, v, 0.0), c), direction(pick(v, u, 1.0))[0], pick(B, A, 1.0))
    u, v = torch.where(either.unsqueeze(-1), 1.0, u), torch.where(either.unsqueeze(-1), 2.0, v)  # any that differ
    elsewhere = _by_angle(u, v, c, chart)
    return torch.where(either, from_origin, elsewhere) / c.sqrt()


def _from_origin(z: _Near, far_hat: Tensor, far: Tensor) -> Tensor:
    """δ of a point near the origin and one farther out, in the direction `far_hat`, at the radius `far`."""
    along = (z.p * far_hat).sum(-1)
    q = z.half * (1 + torch.exp(-2 * far)) / 2 + torch.expm1(-far) ** 2 / 4 + along * torch.expm1(-2 * far) / 4
    return _delta(q, far)


def _by_angle(u: Tensor, v: Tensor, c: Tensor, chart: Coordinates) -> Tensor:
    (u_hat, u_length), (v_hat, v_length) = direction(u), direction(v)
    A, B = chart.radius(u_length.squeeze(-1), c), chart.radius(v_length.squeeze(-1), c)
    apart, aside = chart.apart(u, v, A, B, c), u_hat - v_hat
    aside = aside + (chord(u, v) - aside).detach()
    log_aside = aside.detach().norm(dim=-1).clamp(min=1e-300).log()
    growth = torch.maximum(apart.abs(), A + B + 2 * log_aside).detach()
    wide_apart = apart.abs() > _WIDE
    radial = torch.where(
        wide_apart,
        torch.expm1(-apart.abs()).square() / 4 * torch.exp(apart.abs() - growth),
        (torch.sinh(torch.where(wide_apart, 0.0, apart) / 2) * torch.exp(-growth / 2)).square(),
    )
    turn = aside * torch.exp(((A + B - growth).detach() / 2).clamp(max=350.0)).unsqueeze(-1)
    rest = (A + B) - (A + B).detach()  # 0, with the derivatives of the radii that `turn` takes for constant
    around = torch.expm1(-2 * A) * torch.expm1(-2 * B) / 16 * turn.square().sum(-1) * torch.exp(rest)
    return _delta(radial + around, growth)


def _delta(q: Tensor, growth: Tensor) -> Tensor:
    """2 asinh √(q e^growth), and 0 where q is."""
    there = q > 0
    q = torch.where(there, q, 1.0)
    near = growth < _FAR
    grown = torch.where(near, q * torch.exp(torch.where(near, growth, 0.0)), 1.0)
    delta = torch.where(near, torch.log1p(2 * (grown + (grown + grown * grown).sqrt())), growth + (4 * q).log())
    return torch.where(there, delta, 0.0)
