"""Distances and depths as formulas of torch's own functions: for derivatives beyond the first, and for forward mode.

The kernels give a distance and its gradient in closed form, fast and at every radius; what is asked of them beyond that
is asked of these. They are right wherever the derivative exists, at the origin too, and give 0 between equal points,
where it does not. All is float64, and one to one: leading dimensions broadcast.

With q = sinh²(δ/2) and δ = √c·d the ball has q = c‖x − y‖²/((1 − c‖x‖²)(1 − c‖y‖²)). In the charts that are polar about
the origin q = sinh²((A − B)/2) + sinh A sinh B s, s = ‖û − v̂‖²/4; but û turns ever faster towards the origin, and there

    q = sinh²(A/2) cosh B + sinh²(B/2) − ⟨p, v̂⟩ sinh B/2,    p = sinh A · û.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from geomdml._core.charts import LORENTZ, TANGENT, Coordinates
from geomdml._core.exact import boundary_gap, chord
from geomdml._core.numerics import LOG2, asinh_exp, direction, log_sinh, norm
from geomdml._core.series import sinh_ratio_of_square

_SMALL = 1.0  # of A: below, and below half the other radius, a point counts as near the origin
_WIDE = 600.0  # of A − B; beyond, its sine is a power of e
_FAR = 300.0  # of the logarithm of q; beyond, δ = log 4q


def ball_dist(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
    """Distances in the Poincaré ball."""
    gaps = boundary_gap(x, c).squeeze(-1) * boundary_gap(y, c).squeeze(-1)
    return delta_of(c * (x - y).square().sum(-1) / gaps, torch.zeros_like(gaps)) / c.sqrt()


def tangent_dist(u: Tensor, v: Tensor, c: Tensor) -> Tensor:
    """Distances in the tangent chart."""
    return delta_of(*polar_q(u, v, c, TANGENT)) / c.sqrt()


def lorentz_dist(X: Tensor, Y: Tensor, c: Tensor) -> Tensor:
    """Distances in the Lorentz chart."""
    return delta_of(*polar_q(X, Y, c, LORENTZ)) / c.sqrt()


def lca_depth(u: Tensor, v: Tensor, c: Tensor, inside: Tensor) -> Tensor:
    """Depths of lowest common ancestors, tangent chart: sinh h = sinh A sinh B sin θ/sinh δ where the foot is inside.

    A segment through the origin, where the depth has a kink, is taken for constant.
    """
    (u_hat, u_length), (v_hat, v_length) = direction(u), direction(v)
    A, B = (TANGENT.radius(length.squeeze(-1), c) for length in (u_length, v_length))
    aside, beside = (
        norm(exact_difference(u, sign * v, u_hat, sign * v_hat)).squeeze(-1) for sign in (1, -1)
    )  # 2 sin(θ/2) and 2 cos(θ/2)
    q, growth = polar_q(u, v, c, TANGENT)
    bent = inside & (beside > 0)
    A_, B_, aside, beside, q = (torch.where(bent, z, 1.0) for z in (A, B, aside, beside, q))
    growth = torch.where(bent, growth, 0.0)
    far = growth > _FAR
    cosh_half = torch.where(far, q.log() + growth, torch.log1p(q * torch.exp(torch.where(far, 0.0, growth))))
    log_sinh_delta = LOG2 + (q.log() + growth + cosh_half) / 2
    height = asinh_exp(log_sinh(A_) + log_sinh(B_) + aside.log() + beside.log() - LOG2 - log_sinh_delta)
    return torch.where(bent, height, torch.where(inside, 0.0, torch.minimum(A, B))) / c.sqrt()


def busemann(u: Tensor, ideal: Tensor, c: Tensor) -> Tensor:
    """log(e^(−A) + 2 sinh A s)/√c in the tangent chart; near the origin log(cosh A − ⟨p, ξ̂⟩)/√c."""
    near = 2 * (c.sqrt() * norm(u)).detach() < _SMALL
    z, xi = near_origin(torch.where(near, u, 0.0), c, TANGENT), direction(ideal)[0]
    by_vector = torch.log1p(2 * z.half - (z.p * xi).sum(-1))
    u_hat, length = direction(torch.where(near, 1.0, u))
    A, aside = TANGENT.radius(length, c), exact_difference(u, ideal, u_hat, xi)
    growth = torch.maximum(-A, A + 2 * log_of(norm(aside))).detach()
    turn = aside * torch.exp(((A - growth).detach() / 2).clamp(max=350.0))
    around = -torch.expm1(-2 * A) / 4 * torch.exp(A - A.detach()) * turn.square().sum(-1, keepdim=True)
    by_angle = growth + torch.log(torch.exp(-A - growth) + around)
    return torch.where(near.squeeze(-1), by_vector, by_angle.squeeze(-1)) / c.sqrt()


class Near(NamedTuple):
    """A point near the origin, by functions that are smooth there."""

    p: Tensor  # sinh A · û
    half: Tensor  # sinh²(A/2)


def near_origin(x: Tensor, c: Tensor, chart: Coordinates) -> Near:
    """p and sinh²(A/2) of a point that is near the origin."""
    return _near_in_tangent_chart(x, c) if chart is TANGENT else _near_in_lorentz_chart(x, c)


def _near_in_tangent_chart(u: Tensor, c: Tensor) -> Near:
    t = c * u.square().sum(-1)  # (A/2)²
    return Near(2 * c.sqrt() * sinh_ratio_of_square(4 * t).unsqueeze(-1) * u, t * sinh_ratio_of_square(t) ** 2)


def _near_in_lorentz_chart(X: Tensor, c: Tensor) -> Near:
    t = c * X.square().sum(-1)
    return Near(c.sqrt() * X, t / (2 * (1 + (1 + t).sqrt())))


def polar_q(u: Tensor, v: Tensor, c: Tensor, chart: Coordinates) -> tuple[Tensor, Tensor]:
    """q e^(−growth) in a chart that is polar about the origin, and the growth, a constant."""
    u, v = torch.broadcast_tensors(u, v)
    A, B = (chart.radius(norm(w).squeeze(-1), c) for w in (u, v))
    near_u, near_v = (A < _SMALL) & (2 * A < B), (B < _SMALL) & (2 * B < A)
    either = near_u | near_v

    def pick(first: Tensor, second: Tensor, other: float) -> Tensor:
        """`first` where u is near the origin, `second` where v is, and a constant elsewhere."""
        of_u, of_v = (mask.reshape(mask.shape + (1,) * (first.ndim - mask.ndim)) for mask in (near_u, near_v))
        return torch.where(of_u, first, torch.where(of_v, second, other))

    z = near_origin(pick(u, v, 0.0), c, chart)
    from_origin, far = _from_origin(z, direction(pick(v, u, 1.0))[0], pick(B, A, 1.0))
    u, v = torch.where(either.unsqueeze(-1), 1.0, u), torch.where(either.unsqueeze(-1), 2.0, v)  # any that differ
    elsewhere, growth = _by_angle(u, v, c, chart)
    return torch.where(either, from_origin, elsewhere), torch.where(either, far, growth)


def _from_origin(z: Near, far_hat: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
    """q of a point near the origin and one farther out, in the direction `far_hat`, at the radius `far`."""
    along, growth = (z.p * far_hat).sum(-1), far.detach()
    q = z.half * (1 + torch.exp(-2 * far)) / 2 + torch.expm1(-far) ** 2 / 4 + along * torch.expm1(-2 * far) / 4
    return q * torch.exp(far - growth), growth


def _by_angle(u: Tensor, v: Tensor, c: Tensor, chart: Coordinates) -> tuple[Tensor, Tensor]:
    (u_hat, u_length), (v_hat, v_length) = direction(u), direction(v)
    A, B = chart.radius(u_length.squeeze(-1), c), chart.radius(v_length.squeeze(-1), c)
    apart, aside = chart.apart(u, v, A, B, c), exact_difference(u, v, u_hat, v_hat)
    log_aside = log_of(norm(aside).squeeze(-1))
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
    return radial + around, growth


def exact_difference(u: Tensor, v: Tensor, u_hat: Tensor, v_hat: Tensor) -> Tensor:
    """û − v̂, with all its digits."""
    difference = u_hat - v_hat
    return difference + (chord(u, v) - difference).detach()


def log_of(x: Tensor) -> Tensor:
    """log x without gradient, for constants that keep numbers in range; of 0 as of something very small."""
    return x.detach().clamp(min=1e-300).log()


def delta_of(q: Tensor, growth: Tensor) -> Tensor:
    """2 asinh √(q e^growth), and 0 where q is."""
    there = q > 0
    q = torch.where(there, q, 1.0)
    near = growth < _FAR
    grown = torch.where(near, q * torch.exp(torch.where(near, growth, 0.0)), 1.0)
    delta = torch.where(near, torch.log1p(2 * (grown + (grown + grown * grown).sqrt())), growth + (4 * q).log())
    return torch.where(there, delta, 0.0)
