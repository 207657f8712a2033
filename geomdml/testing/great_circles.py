"""The sphere to fifty digits, from its definitions: arc cosines, slerp by sines, and mean directions."""

from functools import partial

from mpmath import mp, mpf

from geomdml.testing.reference import Reference, Vector, norm

__all__ = ["dist", "expmap", "geodesic", "logmap", "midpoint", "project"]

_of = partial(Reference, chart="sphere", working_digits=160)


def _unit(x: Vector) -> Vector:
    length = norm(x)
    return [a / length for a in x]


def _dot(x: Vector, y: Vector) -> mpf:
    return mp.fsum(a * b for a, b in zip(x, y, strict=True))


def _angle(x: Vector, y: Vector) -> mpf:
    with mp.workdps(2 * mp.dps):  # the arc cosine of nearly 1 has half the digits
        return mp.acos(max(mpf(-1), min(mpf(1), _dot(_unit(x), _unit(y)))))


def _project(x: Vector, *, c: mpf) -> Vector:
    return [a / mp.sqrt(c) for a in _unit(x)]


def _dist(x: Vector, y: Vector, *, c: mpf) -> mpf:
    return _angle(x, y) / mp.sqrt(c)


def _expmap(x: Vector, v: Vector, *, c: mpf) -> Vector:
    u = _unit(x)
    along = _dot(u, v)
    way = [b - along * a for a, b in zip(u, v, strict=True)]
    length = norm(way)
    if not length:
        return _project(x, c=c)
    angle = mp.sqrt(c) * length
    return [(mp.cos(angle) * a + mp.sin(angle) * b / length) / mp.sqrt(c) for a, b in zip(u, way, strict=True)]


def _logmap(x: Vector, y: Vector, *, c: mpf) -> Vector:
    u, v, angle = _unit(x), _unit(y), _angle(x, y)
    cosine = _dot(u, v)
    aside = [b - cosine * a for a, b in zip(u, v, strict=True)]
    length = norm(aside)
    return [angle / mp.sqrt(c) * a / length if length else mpf(0) for a in aside]


def _geodesic(x: Vector, y: Vector, t: Vector, *, c: mpf) -> Vector:
    return _expmap(x, [t[0] * a for a in _logmap(x, y, c=c)], c=c)


def _midpoint(points: Vector, weights: Vector, *, c: mpf) -> Vector:
    dim = len(points) // len(weights)
    units = [_unit(points[i : i + dim]) for i in range(0, len(points), dim)]
    return _project([_dot(list(column), weights) for column in zip(*units, strict=True)], c=c)


project = _of(_project)
dist = _of(_dist)
expmap = _of(_expmap, kinds=("vector", "tangent"))
logmap = _of(_logmap)
geodesic = _of(_geodesic, kinds=("vector", "vector", "number"))
midpoint = _of(_midpoint, kinds=("vectors", "weights"))
