"""Translation, geodesics and midpoints in polar coordinates about the origin, for any chart with that symmetry.

A point is a direction and a radius A, its distance from the origin at unit curvature. Two points and the origin are
a hyperbolic triangle, which is solved in logarithms and by sums of positive terms: no radius overflows, and no digits
cancel. A chart only says how long the vector of radius A is. `geomdml.tangent` and `geomdml.lorentz` are such charts.

Gradients are in closed form too. At a point, ρ the length of its vector, a displacement of length 1 is ρ'(A) long in
the chart along the ray, and ρ(A)/sinh A long across it. Along a geodesic a variation is a Jacobi field: it grows as
sinh across the geodesic, and linearly along it. All functions are homogeneous: f at curvature c/s² of s·x is s times
f at c of x, which gives their derivatives by c (Euler).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from geomdml._core import map_formulas
from geomdml._core.autograd import Function, differentiable, tell_apart
from geomdml._core.charts import Coordinates
from geomdml._core.exact import across, half_sine
from geomdml._core.numerics import LOG2, asinh_exp, direction, home, law_of_cosines, log_cosh, log_sinh, norm


class Widened(Function):
    """A tensor in float64; its gradient comes back in its own dtype, at most as large as that can hold.

    Far out a slope across a ray grows as e^A, beyond any float32.
    """

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.to(home(x.device), torch.float64, copy=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        (x,) = inputs
        ctx.device, ctx.dtype = x.device, x.dtype

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        limit = torch.finfo(ctx.dtype).max
        return grad.clamp(-limit, limit).to(ctx.device, ctx.dtype)


class _WidenedForward(Widened):
    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return tangent.to(home(tangent.device), torch.float64)


Widened.forward_mode = _WidenedForward


def third_side(x: Tensor, y: Tensor, c: Tensor, chart: Coordinates) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The distance δ of two points at unit curvature, A, B, A − B and sin(θ/2), one to one, of float64 vectors."""
    A, B = (chart.radius(norm(z).squeeze(-1), c) for z in (x, y))
    apart, sine = chart.apart(x, y, A, B, c), half_sine(x, y)
    return law_of_cosines(A, B, apart, sine.log()), A, B, apart, sine


def triangle(x: Tensor, y: Tensor, c: Tensor, chart: Coordinates) -> tuple[Tensor, "_Angle", "_Angle"]:
    """The distance δ of two points at unit curvature, and the angles at both in the triangle with the origin."""
    p = _pair(x, y, c, chart, chart)
    side, at_x, at_y, *_ = _solve(p.A, p.B, p.apart, p.log_half_sine, p.log_sine)
    return side, at_x, at_y


def translate(x: Tensor, y: Tensor, c: Tensor, of_x: Coordinates, of_y: Coordinates, out: Coordinates) -> Tensor:
    """The point y carried along by the translation that takes the origin to x; each in its chart."""
    x, y = tell_apart(*torch.broadcast_tensors(Widened.apply(x), Widened.apply(y)))

    def value(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
        return _translate(x, y, c, of_x, of_y, out)

    def gradient(grad: Tensor, x: Tensor, y: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        return _translate_gradient(grad, x, y, c, of_x, of_y, out)

    def formula(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
        return map_formulas.translate(x, y, c, of_x, of_y, out)

    return differentiable(value, gradient, formula, x, y, c)


def geodesic(x: Tensor, y: Tensor, t: float | Tensor, c: Tensor, chart: Coordinates) -> Tensor:
    """The point at t·d(x, y) from x on the geodesic from x to y, for numbers t of the leading dimensions."""
    t = Widened.apply(t) if isinstance(t, Tensor) else torch.full((), t, dtype=c.dtype, device=c.device)
    lead = torch.broadcast_shapes(x.shape[:-1], y.shape[:-1], t.shape)
    x, y = tell_apart(*(Widened.apply(z).expand(*lead, z.shape[-1]) for z in (x, y)))

    def value(x: Tensor, y: Tensor, t: Tensor, c: Tensor) -> Tensor:
        return _point_on_walk(x, y, t, c, chart)

    def gradient(grad: Tensor, x: Tensor, y: Tensor, t: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        return _point_on_walk_gradient(grad, x, y, t, c, chart)

    def formula(x: Tensor, y: Tensor, t: Tensor, c: Tensor) -> Tensor:
        return map_formulas.geodesic(x, y, t, c, chart)

    return differentiable(value, gradient, formula, x, y, t.expand(lead), c)


def midpoint(x: Tensor, weights: Tensor, c: Tensor, chart: Coordinates) -> Tensor:
    """The weighted centroid in the Lorentz model of (..., N, D) points under (..., N) weights."""
    x, weights = Widened.apply(x), Widened.apply(weights)
    lead = torch.broadcast_shapes(x.shape[:-1], weights.shape)

    def value(x: Tensor, weights: Tensor, c: Tensor) -> Tensor:
        centroid = _centroid(x, weights, c, chart)
        return chart.length(centroid.radius, c).unsqueeze(-1) * centroid.unit

    def gradient(grad: Tensor, x: Tensor, weights: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        return _centroid_gradient(grad, x, weights, c, chart)

    def formula(x: Tensor, weights: Tensor, c: Tensor) -> Tensor:
        m = _centroid(x.detach(), weights.detach(), c.detach(), chart)
        seen = map_formulas.SeenFrom(m.unit.detach(), m.chords.detach(), m.log_size.detach())
        return map_formulas.midpoint(x, weights, c, chart, seen)

    return differentiable(value, gradient, formula, x.expand(*lead, x.shape[-1]), weights.expand(lead), c)


class _Angle(NamedTuple):
    """An angle from 0 to π, by its cosine and, with all digits however small, the logarithm of its sine."""

    cos: Tensor
    log_sin: Tensor

    @property
    def sin(self) -> Tensor:
        return self.log_sin.exp()

    @property
    def log_half_sine(self) -> Tensor:
        """log of the sine of half of it."""
        acute = self.cos > 0
        by_sine = self.log_sin - torch.log(2 * (1 + torch.where(acute, self.cos, 0.0))) / 2
        return torch.where(acute, by_sine, torch.log((1 - torch.where(acute, 0.0, self.cos)) / 2) / 2)


class _Pair(NamedTuple):
    """Two points as they are seen from the origin, under the angle θ."""

    A: Tensor
    B: Tensor
    apart: Tensor  # A − B
    x_hat: Tensor
    y_hat: Tensor
    x_side: Tensor  # the direction across x_hat in which y is; 0 where both are on one line
    y_side: Tensor  # across y_hat, away from x
    log_half_sine: Tensor  # of θ
    log_half_cosine: Tensor
    log_sine: Tensor


def _pair(x: Tensor, y: Tensor, c: Tensor, of_x: Coordinates, of_y: Coordinates) -> _Pair:
    A, B = (chart.radius(norm(z).squeeze(-1), c) for z, chart in ((x, of_x), (y, of_y)))
    apart = of_x.apart(x, y, A, B, c) if of_x is of_y else A - B
    # The origin lies in any direction: in that of the other point, so that the two are on one ray.
    x = _or_else(x, _or_else(y, _first_axis(x)))
    y = _or_else(y, x)
    (x_hat, _), (y_hat, _) = direction(x), direction(y)
    x_side, aside = direction(across(x, y))
    y_side, _ = direction(across(y, x))
    log_sine = (aside / norm(y)).squeeze(-1).log().clamp(max=0.0)
    half, cohalf = half_sine(x, y).log(), half_sine(x, -y).log()
    return _Pair(A, B, apart, x_hat, y_hat, x_side, -y_side, half, cohalf, log_sine)


def _or_else(x: Tensor, other: Tensor) -> Tensor:
    return torch.where((x != 0).any(-1, keepdim=True), x, other)


def _first_axis(x: Tensor) -> Tensor:
    return (torch.arange(x.shape[-1], device=x.device) == 0).to(x.dtype).expand_as(x)


class _Triangle(NamedTuple):
    """The third side of a triangle, and its angles at the far ends of the two sides A and B that are given."""

    side: Tensor
    at_A: _Angle
    at_B: _Angle
    radial: Tensor  # sinh(A − B)/sinh side: cos at_A = radial + around_A, cos at_B = around_B − radial
    around_A: Tensor
    around_B: Tensor


def _solve(A: Tensor, B: Tensor, apart: Tensor, log_half_sine: Tensor, log_sine: Tensor) -> _Triangle:
    """The triangle of the sides A and B, given A − B and the angle between them.

    Where the third side is 0, its direction is that of A.
    """
    side = law_of_cosines(A, B, apart, log_half_sine)
    there = side > 0
    log_side, square = log_sinh(torch.where(there, side, 1.0)), 2 * log_half_sine
    radial = torch.sign(apart) * _exp(log_sinh(apart.abs()) - log_side)
    around_A = _exp(LOG2 + log_cosh(A) + log_sinh(B) + square - log_side)
    around_B = _exp(LOG2 + log_cosh(B) + log_sinh(A) + square - log_side)
    cos_A = torch.where(there, radial + around_A, 1.0).clamp(-1, 1)
    cos_B = torch.where(there, around_B - radial, 2 * square.exp() - 1).clamp(-1, 1)
    sine_A = torch.where(there, log_sinh(B) + log_sine - log_side, -torch.inf).clamp(max=0.0)
    sine_B = torch.where(there, log_sinh(A) + log_sine - log_side, log_sine).clamp(max=0.0)
    return _Triangle(side, _Angle(cos_A, sine_A), _Angle(cos_B, sine_B), radial, around_A, around_B)


def _exp(x: Tensor) -> Tensor:
    """exp, of what is not too large for the product of two such to be a float64."""
    return torch.exp(x.clamp(max=300.0))


def _column(x: Tensor) -> Tensor:
    return x.unsqueeze(-1)


def _dot(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum(-1)


def _by_c(g_along: Tensor, length: Tensor, c: Tensor, *slopes: tuple[Tensor, Tensor]) -> Tensor:
    """The derivative by c of a homogeneous function, by those by the lengths of its vectors and of its value."""
    return (sum((slope * length).sum() for slope, length in slopes) - (g_along * length).sum()) / (2 * c)


def _translate(x: Tensor, y: Tensor, c: Tensor, of_x: Coordinates, of_y: Coordinates, out: Coordinates) -> Tensor:
    p = _pair(x, y, c, of_x, of_y)
    R, at_origin, *_ = _solve(p.A, p.B, p.apart, p.log_half_cosine, p.log_sine)
    unit = _column(at_origin.cos) * p.x_hat + _column(at_origin.sin) * p.x_side
    return _column(out.length(R, c)) * unit + 0.0  # the origin is 0, not −0


def _translate_gradient(
    grad: Tensor, x: Tensor, y: Tensor, c: Tensor, of_x: Coordinates, of_y: Coordinates, out: Coordinates
) -> tuple[Tensor, Tensor, Tensor]:
    """By y: its step turns by the angle at the result z. By x: the fields of motions, which move all points."""
    p = _pair(x, y, c, of_x, of_y)
    triangle = _solve(p.A, p.B, p.apart, p.log_half_cosine, p.log_sine)
    R, at_origin, at_z, *_ = triangle
    z_hat = _column(at_origin.cos) * p.x_hat + _column(at_origin.sin) * p.x_side
    z_side = _column(at_origin.cos) * p.x_side - _column(at_origin.sin) * p.x_hat
    g_along, g_around = _dot(grad, z_hat), _dot(grad, z_side)
    g_rest = grad - _column(_dot(grad, p.x_hat)) * p.x_hat - _column(_dot(grad, p.x_side)) * p.x_side
    along, around = out.log_along(R, c), out.log_around(R, c)

    log_along, log_around = of_y.log_along(p.B, c), of_y.log_around(p.B, c)
    by_y = (
        _column(g_along * at_z.cos * _exp(along - log_along) + g_around * _exp(at_z.log_sin + around - log_along))
        * p.y_hat
        + _column(g_around * at_z.cos * _exp(around - log_around) - g_along * _exp(at_z.log_sin + along - log_around))
        * p.y_side
    )
    by_y = by_y + _column(_exp(around - log_around)) * g_rest

    log_along, log_around = of_x.log_along(p.A, c), of_x.log_around(p.A, c)
    by_A = g_along * at_origin.cos * _exp(along - log_along) - g_around * _exp(
        at_origin.log_sin + around + log_cosh(R) - log_along
    )
    # Of x turned about the origin, (sinh R − sinh B cos χ)/sinh A = cosh R cos φ − tanh(A/2) sinh R.
    short, way = p.A < 1, around - log_around
    log_sinh_A = log_sinh(torch.where(short, 1.0, p.A))
    turned = torch.where(
        short,
        at_origin.cos * _exp(way + log_cosh(R)) - torch.tanh(p.A / 2) * _exp(way + log_sinh(R)),
        _exp(way + log_sinh(R) - log_sinh_A) - at_z.cos * _exp(way + log_sinh(p.B) - log_sinh_A),
    )
    # Of x turned out of the plane, cosh B + tanh(A/2) sinh B cos θ.
    half = torch.log(torch.tanh(p.A / 2))
    out_of_plane = _exp(way + log_cosh(p.B - p.A / 2) - log_cosh(p.A / 2)) + _exp(
        way + LOG2 + half + log_sinh(p.B) + 2 * p.log_half_cosine
    )
    by_x = _column(by_A) * p.x_hat + _column(out_of_plane) * g_rest
    by_x = by_x + _column(g_along * _exp(at_origin.log_sin + along - log_around) + g_around * turned) * p.x_side
    by_c = g_along * _lengthening(p, triangle, c, of_x, of_y, out) + g_around * _twist(p, triangle, c, of_x, of_y, out)
    return by_x, by_y, by_c.sum() / (2 * c)


def _lengthening(
    p: _Pair, triangle: _Triangle, c: Tensor, of_x: Coordinates, of_y: Coordinates, out: Coordinates
) -> Tensor:
    """By log c, twice the change of the length of x ⊕ y: no term is much larger than that length."""
    pull_A, pull_B = of_x.pull(p.A), of_y.pull(p.B)
    apart = of_x.pulls_apart(p.A, p.B, p.apart) if of_x is of_y else pull_A - pull_B
    R = triangle.side
    change = triangle.radial * apart + triangle.around_A * pull_A + triangle.around_B * pull_B
    return change * _exp(out.log_along(R, c)) - out.length(R, c)


def _twist(p: _Pair, triangle: _Triangle, c: Tensor, of_x: Coordinates, of_y: Coordinates, out: Coordinates) -> Tensor:
    """By log c, twice the way of x ⊕ y across its ray."""
    pull_A, pull_B = of_x.pull(p.A), of_y.pull(p.B)
    R = torch.where(triangle.side > 0, triangle.side, 1.0)
    scale = out.log_around(R, c) + p.log_sine - log_sinh(R)
    far = pull_B * _exp(scale + log_sinh(p.A)) - pull_A * _exp(scale + log_sinh(p.B) + log_cosh(R))
    # For A near B, with sinh A = sinh B cosh(A − B) + cosh B sinh(A − B).
    near = p.apart.abs() < 1
    d = torch.where(near, p.apart, 0.0)
    apart = of_x.pulls_apart(p.A, p.B, d) if of_x is of_y else pull_A - pull_B
    nonzero = p.B > 0
    slope = torch.where(nonzero, pull_B / torch.tanh(torch.where(nonzero, p.B, 1.0)), 1.0)
    bracket = 2 * pull_B * torch.sinh(d / 2) ** 2 + slope * torch.sinh(d) - apart
    scale = scale + log_sinh(p.B)
    return torch.where(near, bracket * _exp(scale) - pull_A * _exp(scale + LOG2 + 2 * log_sinh(R / 2)), far)


class _Walk(NamedTuple):
    """The way along a geodesic from the nearer of its ends."""

    near: Tensor  # whether that is x
    pair: _Pair  # that end and the other
    share: Tensor  # of the way to the other end; below 0 where it leads away from there
    delta: Tensor
    at_near: _Angle
    at_far: _Angle
    radius: Tensor
    at_origin: _Angle
    at_z: _Angle


def _walk(x: Tensor, y: Tensor, t: Tensor, c: Tensor, chart: Coordinates) -> _Walk:
    near = t < 0.5
    x, y = torch.where(_column(near), x, y), torch.where(_column(near), y, x)
    share = torch.where(near, t, 1 - t)
    p = _pair(x, y, c, chart, chart)
    delta, at_near, at_far, *_ = _solve(p.A, p.B, p.apart, p.log_half_sine, p.log_sine)
    way = share.abs() * delta
    angle = _Angle(torch.where(share < 0, -at_near.cos, at_near.cos), at_near.log_sin)
    radius, at_origin, at_z, *_ = _solve(p.A, way, p.A - way, angle.log_half_sine, angle.log_sin)
    return _Walk(near, p, share, delta, at_near, at_far, radius, at_origin, at_z)


def _point_on_walk(x: Tensor, y: Tensor, t: Tensor, c: Tensor, chart: Coordinates) -> Tensor:
    w = _walk(x, y, t, c, chart)
    sine = torch.where(w.share < 0, -w.at_origin.sin, w.at_origin.sin)
    unit = _column(w.at_origin.cos) * w.pair.x_hat + _column(sine) * w.pair.x_side
    return _column(chart.length(w.radius, c)) * unit + 0.0


def _point_on_walk_gradient(
    grad: Tensor, x: Tensor, y: Tensor, t: Tensor, c: Tensor, chart: Coordinates
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Moving an end moves the point by a Jacobi field: sinh of the rest of the way across the geodesic."""
    w = _walk(x, y, t, c, chart)
    p, back = w.pair, w.share < 0
    sine = torch.where(back, -w.at_origin.sin, w.at_origin.sin)
    z_hat = _column(w.at_origin.cos) * p.x_hat + _column(sine) * p.x_side
    z_side = _column(w.at_origin.cos) * p.x_side - _column(sine) * p.x_hat
    g_along, g_around = _dot(grad, z_hat), _dot(grad, z_side)
    g_rest = grad - _column(_dot(grad, p.x_hat)) * p.x_hat - _column(_dot(grad, p.x_side)) * p.x_side
    along, around = chart.log_along(w.radius, c), chart.log_around(w.radius, c)
    cos_z, sin_z = torch.where(back, -w.at_z.cos, w.at_z.cos), w.at_z.sin  # of the geodesic to the other end, at z

    def by_end(share: Tensor, cos: Tensor, sin: Tensor, C: Tensor, unit: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
        log_along, log_around = chart.log_along(C, c), chart.log_around(C, c)
        there = w.delta > 0
        delta = torch.where(there, w.delta, 1.0)
        log_growth = torch.where(there, log_sinh(share.abs() * delta) - log_sinh(delta), share.abs().log())
        sign = torch.sign(share)

        def carried(log_in: Tensor) -> tuple[Tensor, Tensor]:
            """The gradient along the geodesic and across it, for the direction of the chart whose scale is given."""
            on = share * (g_along * cos_z * _exp(along - log_in) + g_around * _exp(w.at_z.log_sin + around - log_in))
            off = sign * (
                g_around * cos_z * _exp(log_growth + around - log_in)
                - g_along * _exp(log_growth + w.at_z.log_sin + along - log_in)
            )
            return on, off

        (on, off), (on_side, off_side) = carried(log_along), carried(log_around)
        by_length, by_turn = on * cos - off * sin, on_side * sin + off_side * cos
        rest = _column(sign * _exp(log_growth + around - log_around)) * g_rest
        return by_length, _column(by_length) * unit + _column(by_turn) * side + rest

    near_length, by_near = by_end(1 - w.share, -w.at_near.cos, w.at_near.sin, p.A, p.x_hat, p.x_side)
    far_length, by_far = by_end(w.share, w.at_far.cos, w.at_far.sin, p.B, p.y_hat, p.y_side)
    near = _column(w.near)
    by_x, by_y = torch.where(near, by_near, by_far), torch.where(near, by_far, by_near)
    speed = w.delta * (g_along * cos_z * _exp(along) + g_around * sin_z * _exp(around))
    lengths = [(near_length, chart.length(p.A, c)), (far_length, chart.length(p.B, c))]
    by_c = _by_c(g_along, chart.length(w.radius, c), c, *lengths)
    return by_x, by_y, torch.where(w.near, speed, -speed), by_c


class _Centroid(NamedTuple):
    """The sum M of weighted points of the Lorentz model, seen from the direction of the one that weighs most."""

    radius: Tensor
    unit: Tensor  # (..., D)
    log_size: Tensor  # of M: √−⟨M, M⟩ at unit curvature
    A: Tensor  # (..., N), of the points
    units: Tensor  # (..., N, D)
    chords: Tensor  # (..., N, D): unit − units, with all digits


def _centroid(x: Tensor, weights: Tensor, c: Tensor, chart: Coordinates) -> _Centroid:
    """With r̂ the direction of one point, T the time component and S = S_r r̂ + S_⊥ the space components of the sum,

        −⟨M, M⟩ = (T − S_r)(T + S_r) − ‖S_⊥‖²,    T − S_r = Σ w (e^(−A) + 2 sinh A sin²(θ/2)):

    no digits are lost between near-duplicates, nor on a ray.
    """
    A, log_weight = chart.radius(norm(x).squeeze(-1), c), weights.log()
    heaviest = (log_weight + log_sinh(A)).argmax(-1, keepdim=True)
    r = x.gather(-2, heaviest.unsqueeze(-1).expand(*heaviest.shape, x.shape[-1]))  # (..., 1, D)
    r = _or_else(r, _first_axis(r))
    x = _or_else(x, r)
    r_hat, units = direction(r)[0].squeeze(-2), direction(x)[0]
    aside, half = across(r, x) / norm(x), half_sine(r.expand_as(x), x)
    top = (log_weight + log_cosh(A)).amax(-1, keepdim=True)
    weight = torch.exp(log_weight + log_sinh(A) - top)
    T = torch.exp(log_weight + log_cosh(A) - top).sum(-1)
    S_r = (weight * (1 - 2 * half**2)).sum(-1)
    S_across = (_column(weight) * aside).sum(-2)
    S_hat, S = direction(_column(S_r) * r_hat + S_across)
    S, S_hat = S.squeeze(-1), _or_else(S_hat, r_hat)
    gap = torch.logsumexp(
        torch.logaddexp(log_weight - A - top, LOG2 + log_weight + log_sinh(A) + 2 * half.log() - top), -1
    )
    log_square = gap + torch.log(T + S_r)
    lost = torch.exp(2 * norm(S_across).squeeze(-1).log() - log_square)
    log_size = (log_square + torch.log1p(-lost.clamp(max=1 - 1e-15))) / 2
    radius = asinh_exp(S.log() - log_size)
    # unit − r̂ and units − r̂, and their difference
    safe = torch.where(S > 0, S, 1.0)
    cos, sin = torch.where(S > 0, S_r / safe, 1.0), norm(S_across).squeeze(-1) / safe
    sink = torch.where(cos > 0, sin**2 / (1 + cos.clamp(min=0.0)), 1 - cos)
    chords = _column(2 * half**2 - sink.unsqueeze(-1)) * r_hat.unsqueeze(-2) + (
        (S_across / _column(safe)).unsqueeze(-2) - aside
    )
    return _Centroid(radius, S_hat, log_size + top.squeeze(-1), A, units, chords)


def _centroid_gradient(
    grad: Tensor, x: Tensor, weights: Tensor, c: Tensor, chart: Coordinates
) -> tuple[Tensor, Tensor, Tensor]:
    """A point that moves takes the sum with it, and the part of that at a right angle to the sum moves the centroid."""
    m = _centroid(x, weights, c, chart)
    R, A, share = m.radius.unsqueeze(-1), m.A, weights.log() - m.log_size.unsqueeze(-1)
    along, around = chart.log_along(R, c), chart.log_around(R, c)
    g_along = _dot(grad, m.unit).unsqueeze(-1)
    g_across = (grad - g_along * m.unit).unsqueeze(-2)  # (..., 1, D)
    log_half = 2 * (norm(m.chords).squeeze(-1) / 2).log()  # of sin²(θ/2), θ the angle between a point and the centroid
    g_towards = -_dot(m.chords, g_across)  # units · g_across

    log_along, log_around = chart.log_along(A, c), chart.log_around(A, c)
    straight = _exp(share + along + log_cosh(R - A) - log_along)
    bent = _exp(share + along + LOG2 + log_cosh(R) + log_cosh(A) + log_half - log_along)
    by_length = g_along * (straight - bent) + g_towards * _exp(share + around + log_cosh(A) - log_along)
    chord_across = m.chords - _column(_dot(m.chords, m.units)) * m.units
    by_turn = _column(g_along * _exp(share + along + log_cosh(R) - log_around)) * chord_across
    by_turn = by_turn + _column(_exp(share + around - log_around)) * (g_across - _column(g_towards) * m.units)
    by_x = _column(by_length) * m.units + by_turn

    size = m.log_size.unsqueeze(-1)
    straight = torch.sign(A - R) * _exp(along + log_sinh((A - R).abs()) - size)
    bent = _exp(along + LOG2 + log_cosh(R) + log_sinh(A) + log_half - size)
    by_weights = g_along * (straight - bent) + g_towards * _exp(around + log_sinh(A) - size)
    by_c = _by_c(g_along.squeeze(-1), chart.length(m.radius, c), c, (by_length, chart.length(A, c)))
    return by_x, by_weights, by_c
