"""Maps as formulas of torch's own functions, as `geomdml._core.formulas` has distances.

Points are those of the hyperboloid, (cosh A, sinh A · û), near the origin by functions that are smooth there. Far out
they are held times e^(−g), g a constant, so that nothing overflows. The translation of Y by X is

    Z = W + X ⟨W, (Y − X)/(X₀ + Y₀) + X/(1 + X₀)⟩,    W = X + Y,

with X₀ = cosh A; and where X is far out, and this cancels,

    Z = (sinh(A − B) + 2 cosh A sinh B cos²(θ/2)) x̂ + Y_⊥.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from geomdml._core.charts import FARTHEST, LORENTZ, TANGENT, Coordinates
from geomdml._core.formulas import delta_of, exact_difference, log_of, near_origin, polar_q
from geomdml._core.numerics import direction, norm
from geomdml._core.series import asinh_ratio_of_square, sinh_ratio_of_square

_NEAR = 2.0  # of A; below, a point is near the origin
_CLOSE = 0.25  # of q; below, two points are near each other


def translate(x: Tensor, y: Tensor, c: Tensor, of_x: Coordinates, of_y: Coordinates, out: Coordinates) -> Tensor:
    """x ⊕ y, each in its chart."""
    x, y = torch.broadcast_tensors(x, y)
    X, Y = _place(x, c, of_x), _place(y, c, of_y)
    from_origin = (X.radius < _NEAR / 2) | (X.near & Y.near)
    near, growth = _translate_from_origin(X, Y), Y.scale

    apart = of_x.apart(x, y, X.A.squeeze(-1), Y.A.squeeze(-1), c).unsqueeze(-1) if of_x is of_y else X.A - Y.A
    apart = torch.where(from_origin | Y.near, 1.0, apart)
    far = _seen_from_afar(X.unit, X.A, Y.unit, Y.A, exact_difference(x, -y, X.unit, -Y.unit), apart)
    far = _Seen(*(torch.where(Y.near, a, b) for a, b in zip(_origin_seen_from_afar(X, Y), far, strict=True)))
    Z = torch.where(from_origin, near, far.along * X.unit + far.across)
    return _vector_of(Z, torch.where(from_origin, growth, far.growth), c, out)


def exterior_angle(u: Tensor, v: Tensor, c: Tensor) -> Tensor:
    """The angle of (−u) ⊕ v and u, in the tangent chart, of points that differ and u other than 0."""
    (u_hat, u_length), (v_hat, v_length) = direction(u), direction(v)
    A, B = TANGENT.radius(u_length, c), TANGENT.radius(v_length, c)
    apart = TANGENT.apart(u, v, A, B, c).unsqueeze(-1)
    seen = _seen_from_afar(-u_hat, A, v_hat, B, -exact_difference(u, v, u_hat, v_hat), apart)
    return torch.atan2(norm(seen.across), -seen.along).squeeze(-1)


def geodesic(x: Tensor, y: Tensor, t: Tensor, c: Tensor, chart: Coordinates) -> Tensor:
    """(sinh((1 − t)δ) X + sinh(tδ) Y)/sinh δ, for numbers t of the leading dimensions."""
    X, Y, t = _place(x, c, chart), _place(y, c, chart), t.unsqueeze(-1)
    q, growth = (z.unsqueeze(-1) for z in polar_q(x, y, c, chart))
    close = growth + log_of(q) < math.log(_CLOSE)
    square = torch.where(close, q * torch.exp(torch.where(close, growth, 0.0)), 0.0)
    square = 4 * square * asinh_ratio_of_square(square) ** 2  # δ²
    delta = delta_of(torch.where(close, 1.0, q), torch.where(close, 0.0, growth))
    way = delta.detach()
    top = torch.maximum(X.scale + ((1 - t).abs() - 1) * way, Y.scale + (t.abs() - 1) * way).detach()
    top = torch.where(close, torch.maximum(X.scale, Y.scale), top)

    def weighted(share: Tensor, P: _Place) -> Tensor:
        nearby = share * sinh_ratio_of_square(share**2 * square) / sinh_ratio_of_square(square)
        nearby = nearby * torch.exp(torch.where(close, P.scale - top, 0.0))
        afar = 2 * _sinh(share * delta, way + top - P.scale) * torch.exp(way - delta) / -torch.expm1(-2 * delta)
        return torch.where(close, nearby, afar) * P.space

    return _vector_of(weighted(1 - t, X) + weighted(t, Y), top, c, chart)


class SeenFrom(NamedTuple):
    """What is known of a midpoint, without gradient: its direction r̂, r̂ − x̂ of the points, log √−⟨M, M⟩."""

    unit: Tensor  # (..., D)
    chords: Tensor  # (..., N, D)
    log_size: Tensor


def midpoint(x: Tensor, weights: Tensor, c: Tensor, chart: Coordinates, at: SeenFrom) -> Tensor:
    """M/√−⟨M, M⟩, M = Σ w X, with (T − S_r)(T + S_r) − ‖S_⊥‖² for −⟨M, M⟩."""
    r_hat, size = at.unit.unsqueeze(-2), at.log_size[..., None, None]
    P, w = _place(x, c, chart), weights.unsqueeze(-1)
    aside = P.unit - r_hat
    aside = aside - (at.chords + aside.detach())
    top = (P.scale + log_of(w)).amax(-2, keepdim=True)

    lift = _exp((P.scale + top) / 2 - size)  # of what is seen from r̂, half the way that T + S_r is held down
    turn, grown, shrunk = aside * lift, torch.exp(P.A - P.scale), torch.exp(-2 * P.A)
    along = (P.space * r_hat).sum(-1, keepdim=True)
    behind = torch.where(
        P.near,
        (P.time - along) * lift**2,
        shrunk * grown * lift**2 + (1 - shrunk) / 4 * grown * turn.square().sum(-1, keepdim=True),
    )
    turn = (1 - shrunk) / 2 * grown * (turn - (turn * r_hat).sum(-1, keepdim=True) * r_hat)
    across = torch.where(P.near, (P.space - along * r_hat) * lift, turn) * _exp((P.scale - top) / 2)

    held = _exp(P.scale - top)
    behind, ahead = (w * behind).sum(-2), (w * (P.time + along) * held).sum(-2)
    across, along = (w * across).sum(-2), (w * along * held).sum(-2)
    growth = (top - size).squeeze(-2)
    root = (behind * ahead - across.square().sum(-1, keepdim=True)).sqrt()
    return _vector_of((along * r_hat.squeeze(-2) + across * _exp(-growth)) / root, growth, c, chart)


class _Place(NamedTuple):
    """A point on the hyperboloid."""

    radius: Tensor  # (..., 1) A, without gradient
    near: Tensor  # (..., 1) whether it is near the origin
    unit: Tensor  # û and A, with gradient, of points that are not very near; else anything
    A: Tensor
    space: Tensor  # sinh A · û and cosh A, both times e^(−scale)
    time: Tensor
    scale: Tensor  # 0 near the origin, else A; without gradient


def _place(x: Tensor, c: Tensor, chart: Coordinates) -> _Place:
    radius = chart.radius(norm(x.detach()), c.detach())
    near = radius < _NEAR
    smooth = near_origin(torch.where(near, x, 0.0), c, chart)
    unit, length = direction(torch.where(radius < _NEAR / 2, 1.0, x))
    A = chart.radius(length, c)
    grown, shrunk = torch.exp(A - A.detach()) / 2, torch.exp(-2 * A)
    space = torch.where(near, smooth.p, (1 - shrunk) * grown * unit)
    time = torch.where(near, 1 + 2 * smooth.half.unsqueeze(-1), (1 + shrunk) * grown)
    return _Place(radius, near, unit, A, space, time, torch.where(near, 0.0, radius))


def _translate_from_origin(X: _Place, Y: _Place) -> Tensor:
    """Z by the first formula, times e^(−Y.scale), where X is near the origin."""
    held = torch.exp(-Y.scale)
    W, difference = held * X.space + Y.space, Y.space - held * X.space
    lever = difference / (held * X.time + Y.time) + X.space / (1 + X.time)
    return W + (W * lever).sum(-1, keepdim=True) * X.space


class _Seen(NamedTuple):
    """Z along x̂ and across it, both times e^(−growth)."""

    along: Tensor
    across: Tensor
    growth: Tensor


def _seen_from_afar(x_hat: Tensor, A: Tensor, y_hat: Tensor, B: Tensor, total: Tensor, apart: Tensor) -> _Seen:
    """Z by the second formula, of x̂ + ŷ with all its digits, which is 2 cos(θ/2) long, and A − B likewise."""
    growth = torch.maximum(apart.abs(), A + B + 2 * log_of(norm(total))).detach()
    turn = total * _exp((A + B - growth).detach() / 2)
    shrunk_A, shrunk_B, grown_B = torch.exp(-2 * A), torch.exp(-2 * B), torch.exp(B - B.detach())
    bend = (1 + shrunk_A) * (1 - shrunk_B) / 8 * torch.exp(A - A.detach()) * grown_B
    across = turn - (turn * x_hat).sum(-1, keepdim=True) * x_hat
    lever = (1 - shrunk_B) / 2 * grown_B * torch.exp((B - A - growth).detach() / 2)
    return _Seen(_sinh(apart, growth) + bend * turn.square().sum(-1, keepdim=True), lever * across, growth)


def _origin_seen_from_afar(X: _Place, Y: _Place) -> _Seen:
    """Z where Y is near the origin, and X is not."""
    along, growth = (Y.space * X.unit).sum(-1, keepdim=True), X.A.detach()
    grown, shrunk = torch.exp(X.A - growth) / 2, torch.exp(-2 * X.A)
    moved = grown * ((1 - shrunk) * Y.time + (1 + shrunk) * along)
    return _Seen(moved, torch.exp(-growth) * (Y.space - along * X.unit), growth)


def _vector_of(Z: Tensor, growth: Tensor, c: Tensor, chart: Coordinates) -> Tensor:
    """The vector of the chart for the point of sinh R · ẑ = Z e^growth."""
    if chart is LORENTZ:
        return Z * torch.exp(growth.clamp(max=FARTHEST)) / c.sqrt()
    near = growth + log_of(norm(Z)) < 0
    sinh = torch.where(near, Z * torch.exp(torch.where(near, growth, 0.0)), 0.0)
    by_sinh = asinh_ratio_of_square(sinh.square().sum(-1, keepdim=True)) * sinh
    unit, length = direction(torch.where(near, 1.0, Z))
    R = growth + torch.log(length + (length.square() + _exp(-2 * growth)).sqrt())
    return torch.where(near, by_sinh, R * unit) / (2 * c.sqrt())


def _sinh(z: Tensor, growth: Tensor) -> Tensor:
    """sinh z e^(−growth)."""
    wide = z.abs() > 1
    grown = torch.sign(z) * -torch.expm1(-2 * z.abs()) / 2 * _exp(z.abs() - growth)
    return torch.where(wide, grown, torch.sinh(torch.where(wide, 0.0, z)) * _exp(-growth))


def _exp(x: Tensor) -> Tensor:
    return torch.exp(x.clamp(max=350.0))
