"""Hyperbolic geometry to fifty digits, written from the definitions: the reference of the property suite.

Nothing here shares a formula with the library. Distances in the ball are (2/√c) artanh(√c‖−x ⊕ y‖) with Möbius
addition as printed; a second derivation, in the Lorentz model, is arcosh(−c⟨X, Y⟩)/√c; the depth of the lowest common
ancestor is found in the Klein model, whose geodesics are straight. Derivatives are difference quotients.
"""

from mpmath import mp, mpf

from geomdml.testing.reference import (
    Floats,
    Reference,
    Vector,
    exact,
    gap,
    in_ball,
    in_lorentz_model,
    in_tangent_chart,
    norm,
    taking,
)

__all__ = [
    "Floats",
    "Reference",
    "Vector",
    "ball_to_hyperboloid",
    "boosted",
    "busemann",
    "conformal_factor",
    "dist",
    "dist0",
    "euclidean_dist",
    "exact",
    "expmap",
    "expmap0",
    "exterior_angle",
    "gap",
    "geodesic",
    "gyration",
    "half_aperture",
    "hyperboloid_dist",
    "hyperboloid_inner",
    "hyperboloid_to_ball",
    "hyperboloid_to_tangent",
    "in_ball",
    "in_lorentz_model",
    "in_tangent_chart",
    "lca_depth",
    "logmap",
    "logmap0",
    "lorentz_dist",
    "midpoint",
    "mobius_add",
    "mobius_matvec",
    "mobius_scalar_mul",
    "norm",
    "parallel_transport",
    "signed_dist",
    "taking",
    "tangent_dist",
    "tangent_to_hyperboloid",
]


def _dot(x: Vector, y: Vector) -> mpf:
    return mp.fdot(x, y)


def _scaled(r: mpf, x: Vector) -> Vector:
    return [r * value for value in x]


def _mobius_add(x: Vector, y: Vector, c: mpf) -> Vector:
    xy, xx, yy = _dot(x, y), _dot(x, x), _dot(y, y)
    denominator = 1 + 2 * c * xy + c**2 * xx * yy
    p, q = (1 + 2 * c * xy + c * yy) / denominator, (1 - c * xx) / denominator
    return [p * a + q * b for a, b in zip(x, y, strict=True)]


def _dist(x: Vector, y: Vector, c: mpf) -> mpf:
    return mpf(0) if x == y else 2 / mp.sqrt(c) * mp.atanh(mp.sqrt(c) * norm(_mobius_add(_scaled(-1, x), y, c)))


def _expmap0(v: Vector, c: mpf) -> Vector:
    z = mp.sqrt(c) * norm(v)
    return _scaled(mp.tanh(z) / z if z else mpf(1), v)


@in_ball
def mobius_add(x: Vector, y: Vector, *, c: mpf) -> Vector:
    """x ⊕ y = ((1 + 2c⟨x,y⟩ + c‖y‖²) x + (1 − c‖x‖²) y)/(1 + 2c⟨x,y⟩ + c²‖x‖²‖y‖²)."""
    return _mobius_add(x, y, c)


@in_ball
def dist(x: Vector, y: Vector, *, c: mpf) -> mpf:
    """(2/√c) artanh(√c‖−x ⊕ y‖)."""
    return _dist(x, y, c)


@in_ball
def dist0(x: Vector, *, c: mpf) -> mpf:
    """(2/√c) artanh(√c‖x‖)."""
    return 2 / mp.sqrt(c) * mp.atanh(mp.sqrt(c) * norm(x))


@in_ball
def conformal_factor(x: Vector, *, c: mpf) -> mpf:
    """2/(1 − c‖x‖²)."""
    return 2 / (1 - c * _dot(x, x))


@in_ball
def logmap0(y: Vector, *, c: mpf) -> Vector:
    """artanh(√c‖y‖) y/(√c‖y‖)."""
    z = mp.sqrt(c) * norm(y)
    return _scaled(mp.atanh(z) / z if z else mpf(1), y)


def _expmap(x: Vector, v: Vector, c: mpf) -> Vector:
    return _mobius_add(x, _expmap0(_scaled(1 / (1 - c * _dot(x, x)), v), c), c)


def _multiple(r: mpf, x: Vector, c: mpf) -> Vector:
    z = mp.sqrt(c) * norm(x)
    return _scaled(mp.tanh(r * mp.atanh(z)) / z if z else r, x)


def _gyration(x: Vector, y: Vector, v: Vector, c: mpf) -> Vector:
    if not any(v):
        return v
    into_ball = 1 / (2 * mp.sqrt(c) * norm(v))  # gyrations are linear, their definition is for points
    z = _mobius_add(x, _mobius_add(y, _scaled(into_ball, v), c), c)
    return _scaled(1 / into_ball, _mobius_add(_scaled(-1, _mobius_add(x, y, c)), z, c))


@taking("point", "vector")
def expmap(x: Vector, v: Vector, *, c: mpf) -> Vector:
    """x ⊕ tanh(√c λ_x‖v‖/2) v/(√c‖v‖)."""
    return _expmap(x, v, c)


@in_ball
def logmap(x: Vector, y: Vector, *, c: mpf) -> Vector:
    """2/(√c λ_x) artanh(√c‖z‖) z/‖z‖ with z = −x ⊕ y."""
    z = _mobius_add(_scaled(-1, x), y, c) if x != y else _scaled(0, x)
    length = mp.sqrt(c) * norm(z)
    return _scaled((1 - c * _dot(x, x)) * (mp.atanh(length) / length if length else 1), z)


@taking("number", "point")
def mobius_scalar_mul(r: Vector, x: Vector, *, c: mpf) -> Vector:
    """tanh(r artanh(√c‖x‖)) x/(√c‖x‖)."""
    return _multiple(r[0], x, c)


@taking("matrix", "point")
def mobius_matvec(M: Vector, x: Vector, *, c: mpf) -> Vector:
    """tanh(‖Mx‖/‖x‖ artanh(√c‖x‖)) Mx/(√c‖Mx‖)."""
    product = [_dot(M[i : i + len(x)], x) for i in range(0, len(M), len(x))]
    z, length = mp.sqrt(c) * norm(x), mp.sqrt(c) * norm(product)
    return _scaled(mp.tanh(length / z * mp.atanh(z)) / length if length else mpf(1), product)


@taking("point", "point", "vector")
def gyration(x: Vector, y: Vector, v: Vector, *, c: mpf) -> Vector:
    """−(x ⊕ y) ⊕ (x ⊕ (y ⊕ v)), for a v short enough, and linear in v."""
    return _gyration(x, y, v, c)


@taking("point", "point", "vector")
def parallel_transport(x: Vector, y: Vector, v: Vector, *, c: mpf) -> Vector:
    """(λ_x/λ_y) gyr[y, −x]v."""
    return _scaled((1 - c * _dot(y, y)) / (1 - c * _dot(x, x)), _gyration(y, _scaled(-1, x), v, c))


@taking("point", "point", "number")
def geodesic(x: Vector, y: Vector, t: Vector, *, c: mpf) -> Vector:
    """x ⊕ (t ⊗ (−x ⊕ y))."""
    return _mobius_add(x, _multiple(t[0], _mobius_add(_scaled(-1, x), y, c), c), c)


@taking("points", "weights")
def midpoint(points: Vector, weights: Vector, *, c: mpf) -> Vector:
    """Mean of the points k of the Klein model with their weights times (1 − c‖k‖²)^(−1/2), mapped back."""
    dim = len(points) // len(weights)
    rows = [points[i : i + dim] for i in range(0, len(points), dim)]
    klein = [_scaled(2 / (1 + c * _dot(x, x)), x) for x in rows]
    factors = [w / mp.sqrt(1 - c * _dot(k, k)) for w, k in zip(weights, klein, strict=True)]
    mean = [mp.fdot(factors, entries) / mp.fsum(factors) for entries in zip(*klein, strict=True)]
    return _scaled(1 / (1 + mp.sqrt(1 - c * _dot(mean, mean))), mean)


@in_tangent_chart
def expmap0(v: Vector, *, c: mpf) -> Vector:
    """tanh(√c‖v‖) v/(√c‖v‖)."""
    return _expmap0(v, c)


@in_tangent_chart
def tangent_dist(u: Vector, v: Vector, *, c: mpf) -> mpf:
    """The distance in the ball between exp_0(u) and exp_0(v)."""
    return mpf(0) if u == v else _dist(_expmap0(u, c), _expmap0(v, c), c)


@in_tangent_chart
def lorentz_dist(u: Vector, v: Vector, *, c: mpf) -> mpf:
    """The second derivation: arcosh(−c⟨X, Y⟩)/√c, X = (cosh A, sinh A · û)/√c A = 2√c‖u‖."""
    if u == v:
        return mpf(0)
    a, b = norm(u), norm(v)
    A, B = 2 * mp.sqrt(c) * a, 2 * mp.sqrt(c) * b
    cosine = _dot(u, v) / (a * b) if a and b else mpf(0)
    return mp.acosh(max(mpf(1), mp.cosh(A) * mp.cosh(B) - mp.sinh(A) * mp.sinh(B) * cosine)) / mp.sqrt(c)


@in_tangent_chart
def lca_depth(u: Vector, v: Vector, *, c: mpf) -> mpf:
    """Distance from the origin to the geodesic segment between two points, in the Klein model.

    There the point of tangent vector u is tanh(2√c‖u‖) û (at unit curvature); geodesics are straight
    lines, and the point of a segment that is nearest to the origin is so in the Euclidean sense too.
    """
    x, y = (_scaled(mp.tanh(2 * mp.sqrt(c) * norm(w)) / norm(w), w) if norm(w) else w for w in (u, v))
    along = [b - a for a, b in zip(x, y, strict=True)]
    length = _dot(along, along)
    foot = min(mpf(1), max(mpf(0), -_dot(x, along) / length)) if length else mpf(0)
    height = norm([a + foot * b for a, b in zip(x, along, strict=True)])
    noise = mpf(10) ** (-mp.dps // 2)  # a segment through the origin: what is left of its height is rounding
    return mp.atanh(height) / mp.sqrt(c) if height > noise else mpf(0)


def _log0(y: Vector, c: mpf) -> Vector:
    return logmap0.definition(y, c=c)


def _exp0_each(vectors: Vector, dim: int, c: mpf) -> Vector:
    return [entry for i in range(0, len(vectors), dim) for entry in _expmap0(vectors[i : i + dim], c)]


@in_tangent_chart
def half_aperture(u: Vector, *, c: mpf) -> mpf:
    """asin(min(1, k(1 − c‖x‖²)/(√c‖x‖))), k = 0.1, with x = exp_0(u)."""
    x = _expmap0(u, c)
    length = mp.sqrt(c) * norm(x)
    k = mpf(0.1)
    return mp.asin(min(mpf(1), k * (1 - length**2) / length)) if length else mp.pi / 2


@in_tangent_chart
def exterior_angle(u: Vector, v: Vector, *, c: mpf) -> mpf:
    """The angle between x and (−x) ⊕ y, x = exp_0(u) and y = exp_0(v); 0 where there is none."""
    if u == v or not any(u):
        return mpf(0)
    z = _mobius_add(_scaled(-1, _expmap0(u, c)), _expmap0(v, c), c)
    z, u_hat = _scaled(1 / norm(z), z), _scaled(1 / norm(u), u)
    along = _dot(z, u_hat)
    across = norm([a - along * b for a, b in zip(z, u_hat, strict=True)])
    noise = mpf(10) ** (-mp.dps // 2)  # what is left of a point on the ray is rounding
    return mp.atan2(across if across > noise else mpf(0), along)


@in_tangent_chart
def signed_dist(u: Vector, normal: Vector, offset: Vector, *, c: mpf) -> mpf:
    """(1/√c) asinh(2√c⟨z, n⟩/((1 − c‖z‖²)‖n‖)) with z = −p ⊕ exp_0(u) and p = exp_0(offset n/‖n‖)."""
    length = norm(normal)
    p = _expmap0(_scaled(offset[0] / length, normal), c)
    z = _mobius_add(_scaled(-1, p), _expmap0(u, c), c)
    return mp.asinh(2 * mp.sqrt(c) * _dot(z, normal) / ((1 - c * _dot(z, z)) * length)) / mp.sqrt(c)


@in_tangent_chart
def busemann(u: Vector, ideal: Vector, *, c: mpf) -> mpf:
    """(1/√c) log(‖ξ − √c x‖²/(1 − c‖x‖²)) with x = exp_0(u), of the ideal point in the direction ξ."""
    x, length = _scaled(mp.sqrt(c), _expmap0(u, c)), norm(ideal)
    apart = [a / length - b for a, b in zip(ideal, x, strict=True)]
    return mp.log(_dot(apart, apart) / (1 - _dot(x, x))) / mp.sqrt(c)


@in_tangent_chart
def tangent_mobius_add(u: Vector, v: Vector, *, c: mpf) -> Vector:
    """log_0(exp_0(u) ⊕ exp_0(v))."""
    return _log0(_mobius_add(_expmap0(u, c), _expmap0(v, c), c), c)


@taking("vector", "tangent", chart="tangent")
def tangent_expmap(u: Vector, v: Vector, *, c: mpf) -> Vector:
    """log_0(exp_x((1 − c‖x‖²)v)) with x = exp_0(u): transport from the origin to x is 1 − c‖x‖²."""
    x = _expmap0(u, c)
    return _log0(_expmap(x, _scaled(1 - c * _dot(x, x), v), c), c)


@in_tangent_chart
def tangent_logmap(u: Vector, v: Vector, *, c: mpf) -> Vector:
    """log_x(y)/(1 − c‖x‖²) with x = exp_0(u) and y = exp_0(v)."""
    x = _expmap0(u, c)
    return _scaled(1 / (1 - c * _dot(x, x)), logmap.definition(x, _expmap0(v, c), c=c))


@taking("vector", "vector", "number", chart="tangent")
def tangent_geodesic(u: Vector, v: Vector, t: Vector, *, c: mpf) -> Vector:
    """log_0 of the point on the geodesic of the ball."""
    z = _log0(geodesic.definition(_expmap0(u, c), _expmap0(v, c), t, c=c), c)
    noise = mpf(10) ** (-mp.dps // 2)  # half-way between antipodes: what is left of the origin is rounding
    return z if norm(z) > noise else _scaled(mpf(0), z)


@taking("vectors", "weights", chart="tangent")
def tangent_midpoint(vectors: Vector, weights: Vector, *, c: mpf) -> Vector:
    """log_0 of the Einstein midpoint in the ball."""
    points = _exp0_each(vectors, len(vectors) // len(weights), c)
    return _log0(midpoint.definition(points, weights, c=c), c)


@in_tangent_chart
def euclidean_dist(x: Vector, y: Vector, *, c: mpf) -> mpf:
    """‖x − y‖; c has no part in it."""
    return norm(b - a for a, b in zip(x, y, strict=True))


def _time(X: Vector, c: mpf) -> mpf:
    return mp.sqrt(1 / c + _dot(X, X))


def _along(length: mpf, x: Vector) -> Vector:
    return _scaled(length / norm(x), x) if norm(x) else x


@in_lorentz_model
def hyperboloid_inner(X: Vector, Y: Vector, *, c: mpf) -> mpf:
    """−X₀Y₀ + Σ XᵢYᵢ with X₀ = √(1/c + ‖X‖²)."""
    return _dot(X, Y) - _time(X, c) * _time(Y, c)


@in_lorentz_model
def hyperboloid_dist(X: Vector, Y: Vector, *, c: mpf) -> mpf:
    """arcosh(−c⟨X, Y⟩)/√c."""
    return mpf(0) if X == Y else mp.acosh(-c * hyperboloid_inner.definition(X, Y, c=c)) / mp.sqrt(c)


@in_lorentz_model
def hyperboloid_to_tangent(X: Vector, *, c: mpf) -> Vector:
    """The tangent vector along X whose length is half the distance from the origin, arcosh(√c·X₀)/√c."""
    return _along(mp.acosh(mp.sqrt(c) * _time(X, c)) / (2 * mp.sqrt(c)), X)


@in_lorentz_model
def hyperboloid_to_ball(X: Vector, *, c: mpf) -> Vector:
    """exp_0 of the tangent vector."""
    return _expmap0(hyperboloid_to_tangent.definition(X, c=c), c)


@in_tangent_chart
def tangent_to_hyperboloid(u: Vector, *, c: mpf) -> Vector:
    """sinh(A)/√c along u, A = 2√c‖u‖."""
    return _along(mp.sinh(2 * mp.sqrt(c) * norm(u)) / mp.sqrt(c), u)


@in_ball
def ball_to_hyperboloid(x: Vector, *, c: mpf) -> Vector:
    """The point of the tangent vector log_0(x)."""
    return tangent_to_hyperboloid.definition(logmap0.definition(x, c=c), c=c)


@in_lorentz_model
def hyperboloid_add(X: Vector, Y: Vector, *, c: mpf) -> Vector:
    """Y under the boost that takes the origin to X."""
    inverse = all(x == -y for x, y in zip(X, Y, strict=True))
    return _scaled(mpf(0), X) if inverse else boosted.definition(Y, X, c=c)


@taking("vector", "tangent", chart="lorentz")
def hyperboloid_expmap(X: Vector, v: Vector, *, c: mpf) -> Vector:
    """The point of v, a tangent vector at the origin, under the boost that takes the origin to X."""
    return boosted.definition(tangent_to_hyperboloid.definition(v, c=c), X, c=c)


@in_lorentz_model
def hyperboloid_logmap(X: Vector, Y: Vector, *, c: mpf) -> Vector:
    """The tangent vector at the origin of Y under the boost that takes X to the origin."""
    if X == Y:
        return _scaled(mpf(0), X)
    return hyperboloid_to_tangent.definition(boosted.definition(Y, _scaled(-1, X), c=c), c=c)


@taking("vector", "vector", "number", chart="lorentz")
def hyperboloid_geodesic(X: Vector, Y: Vector, t: Vector, *, c: mpf) -> Vector:
    """(sinh((1 − t)δ) X + sinh(tδ) Y)/sinh δ, δ = √c d(X, Y)."""
    delta = mp.sqrt(c) * hyperboloid_dist.definition(X, Y, c=c)
    if not delta:
        return X
    p, q = mp.sinh((1 - t[0]) * delta) / mp.sinh(delta), mp.sinh(t[0] * delta) / mp.sinh(delta)
    return [p * a + q * b for a, b in zip(X, Y, strict=True)]


@taking("vectors", "weights", chart="lorentz")
def hyperboloid_midpoint(vectors: Vector, weights: Vector, *, c: mpf) -> Vector:
    """M/√(−c⟨M, M⟩), M the weighted sum of the points."""
    dim = len(vectors) // len(weights)
    rows = [vectors[i : i + dim] for i in range(0, len(vectors), dim)]
    M = [mp.fdot(weights, entries) for entries in zip(*rows, strict=True)]
    M0 = mp.fdot(weights, [_time(X, c) for X in rows])
    return _scaled(1 / mp.sqrt(c * (M0**2 - _dot(M, M))), M)


@in_lorentz_model
def boosted(X: Vector, V: Vector, *, c: mpf) -> Vector:
    """X under the Lorentz boost that takes the origin to V; textbook form, with γ = √c·V₀ and γβ = √c·V."""
    gamma, g = mp.sqrt(c) * _time(V, c), _scaled(mp.sqrt(c), V)
    return [x + a * (_time(X, c) + _dot(g, X) / (1 + gamma)) for x, a in zip(X, g, strict=True)]
