"""Hypothesis strategies for the points where hyperbolic geometry goes wrong in floating point.

A draw decides dimension, curvature, radii and the relation of the points, and a seed for directions: it is quick in any
dimension, and small where hypothesis has shrunk it. Radii are at unit curvature, √c‖u‖, so that points are equally far
out whatever the curvature; the hyperbolic distance from the origin is 2/√c times that.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from geomdml.testing import oracle
from geomdml.testing.primitives import Primitive

__all__ = [
    "APART",
    "DIMENSIONS",
    "DISTINCT",
    "DRAWS",
    "FARTHEST_POINT",
    "ON_TWO_LINES",
    "Pair",
    "Point",
    "PointDraw",
    "RELATIONS",
    "arguments",
    "curvatures",
    "inputs",
    "lorentz_pairs",
    "lorentz_points",
    "pair",
    "point_pairs",
    "points",
    "radii",
    "single",
    "tangent_pairs",
    "tangents",
]


class Point(NamedTuple):
    """A vector, (D,), and the absolute curvature it lives in."""

    x: Tensor
    c: float


class Pair(NamedTuple):
    """Two vectors, (D,) each, and the absolute curvature they live in."""

    x: Tensor
    y: Tensor
    c: float


DIMENSIONS = (2, 1, 3, 5, 8, 16, 64, 384)
RELATIONS = (
    "independent",
    "same radius",
    "near-duplicate",  # relative offset 1e-6 to 1e-2
    "near-antipode",  # at the boundary of the ball: the near-cancelling pair of Möbius addition
    "on one line",
    "multiple",  # exactly on one line through the origin, in the floats too
    "duplicate",
    "antipode",
    "origin",
)
DISTINCT = tuple(relation for relation in RELATIONS if relation != "duplicate")
APART = ("independent", "same radius")
ON_TWO_LINES = tuple(
    relation for relation in RELATIONS if relation not in ("on one line", "multiple", "duplicate", "antipode")
)
_NEAREST = 1e-20
_FARTHEST_TANGENT = 300.0
FARTHEST_POINT = 20.0  # tanh is 1 there in every dtype, and the point becomes the last float inside the ball
_FARTHEST_LORENTZ = 170.0  # sinh(2·170) has a square in float64; narrower dtypes end where their floats do


@lru_cache  # a strategy that is made anew is examined anew, at every draw
def curvatures(smallest: float = 1e-8, largest: float = 1e3) -> st.SearchStrategy[float]:
    """Absolute curvatures, their logarithms uniform."""
    exponents = st.floats(math.log10(smallest), math.log10(largest))
    return exponents.map(lambda exponent: min(max(10.0**exponent, smallest), largest))


@lru_cache
def radii(nearest: float, farthest: float) -> st.SearchStrategy[float]:
    """Radii at unit curvature: where space is curved, of any magnitude, or the farthest."""
    exponents = st.floats(math.log10(nearest), math.log10(farthest))
    curved = st.floats(min(0.1, farthest), farthest)
    return st.one_of(curved, exponents.map(lambda exponent: min(10.0**exponent, farthest)), st.just(farthest))


class PointDraw(NamedTuple):
    """How the points of a chart are drawn: at which lengths, for radii up to the farthest, and in which numbers."""

    farthest: float
    length: Callable[[float, float], float]  # ‖x‖ of a radius and c
    point: Callable[[np.ndarray, float, torch.dtype], Tensor]  # the vector x, c and a dtype to a point of the chart
    last: Callable[[float, torch.dtype], float] = lambda c, dtype: math.inf  # the radius where the numbers end


@st.composite
def _drawn(
    draw: st.DrawFn,
    chart: str,
    dtype: torch.dtype,
    relations: Sequence[str] | None,
    *,
    nearest: float = _NEAREST,
    farthest: float | None = None,
    dimensions: Sequence[int] = DIMENSIONS,
    c: st.SearchStrategy[float] | None = None,
) -> Point | Pair:
    """A point, now and then the origin, or two in one of the relations."""
    how, curvature, rng = DRAWS[chart], draw(curvatures() if c is None else c), draw(_generators())
    distances = radii(nearest, min(how.farthest if farthest is None else farthest, how.last(curvature, dtype)))
    if relations is None:
        x = how.length(draw(st.one_of(distances, st.just(0.0))), curvature) * _unit(
            rng, draw(st.sampled_from(dimensions))
        )
        return Point(how.point(x, curvature, dtype), curvature)
    dim = draw(st.sampled_from(dimensions))
    x, y = (how.length(draw(distances), curvature) * _unit(rng, dim) for _ in range(2))
    x, y = _related(draw, rng, x, y, relations)
    return Pair(how.point(x, curvature, dtype), how.point(y, curvature, dtype), curvature)


def single(chart: str, dtype: torch.dtype = torch.float32, **options: Any) -> st.SearchStrategy[Any]:
    """Points of a chart, now and then the origin.

    The options are `nearest` and `farthest`, radii at unit curvature; `dimensions` to choose from; c, a strategy.
    """
    return _drawn(chart, dtype, None, **options)


def pair(
    chart: str, dtype: torch.dtype = torch.float32, *, relations: Sequence[str] = RELATIONS, **options: Any
) -> st.SearchStrategy[Any]:
    """Pairs of points of a chart in each of the `relations`; the other options are those of `single`."""
    return _drawn(chart, dtype, relations, **options)


def tangents(dtype: torch.dtype = torch.float32, **options: Any) -> st.SearchStrategy[Any]:
    """Tangent vectors at the origin; the options are those of `single`."""
    return single("tangent", dtype, **options)


def tangent_pairs(dtype: torch.dtype = torch.float32, **options: Any) -> st.SearchStrategy[Any]:
    """Pairs of tangent vectors at the origin; the options are those of `pair`."""
    return pair("tangent", dtype, **options)


def points(dtype: torch.dtype = torch.float32, **options: Any) -> st.SearchStrategy[Any]:
    """Points of the ball, up to the last float inside."""
    return single("ball", dtype, **options)


def point_pairs(dtype: torch.dtype = torch.float32, **options: Any) -> st.SearchStrategy[Any]:
    """Pairs of points of the ball, up to the last float inside."""
    return pair("ball", dtype, **options)


def lorentz_points(dtype: torch.dtype = torch.float32, **options: Any) -> st.SearchStrategy[Any]:
    """Points of the Lorentz model by their space components, up to where the dtype ends."""
    return single("lorentz", dtype, **options)


def lorentz_pairs(dtype: torch.dtype = torch.float32, **options: Any) -> st.SearchStrategy[Any]:
    """Pairs of points of the Lorentz model, up to where the dtype ends."""
    return pair("lorentz", dtype, **options)


@st.composite
def arguments(
    draw: st.DrawFn,
    kinds: Sequence[str],
    dtype: torch.dtype = torch.float32,
    *,
    chart: str = "ball",
    nearest: float = _NEAREST,
    farthest: float | None = None,
    relations: Sequence[str] = RELATIONS,
    **options: Any,
) -> tuple[Any, ...]:
    """Arguments of mixed kinds, as `oracle.Reference` lists them, and c; further options are those of `pair`.

    The two points are in each of the `relations`, and so is a vector at the first of them, with the vector that leads
    on from the origin just as far as the point is: its "antipode" leads to the origin.
    """
    farthest = DRAWS[chart].farthest if farthest is None else farthest
    x, y, c = draw(pair(chart, dtype, nearest=nearest, farthest=farthest, relations=relations, **options))
    rng, points, dim = draw(_generators()), iter((x, y)), len(x)

    def vector() -> Tensor:
        gap, length = float(oracle.gap(x, c)), math.sqrt(c) * float(x.double().norm())
        radius = (math.log1p(length) - math.log(gap) / 2) * gap / math.sqrt(c)
        away = radius / (float(x.double().norm()) or 1.0) * x.double().numpy()
        free = gap / math.sqrt(c) * draw(radii(nearest, farthest)) * _unit(rng, dim)
        _, v = _related(draw, rng, away, free, relations)
        return torch.tensor(v, dtype=dtype)

    def tangent() -> Tensor:
        length = float(x.double().norm())
        radius = length if chart == "tangent" else math.asinh(math.sqrt(c) * length) / (2 * math.sqrt(c))
        away = radius / (length or 1.0) * x.double().numpy()
        _, v = _related(draw, rng, away, draw(radii(nearest, farthest)) / math.sqrt(c) * _unit(rng, dim), relations)
        return torch.tensor(v, dtype=dtype)

    def number() -> Tensor:
        return torch.tensor(draw(st.one_of(st.sampled_from((0.0, 0.5, 1.0)), st.floats(-2, 3, width=16))), dtype=dtype)

    def matrix() -> Tensor:
        rows = draw(st.integers(1, 4))
        return torch.tensor(10.0 ** draw(st.integers(-2, 0)) * rng.standard_normal((rows, dim)) / dim, dtype=dtype)

    make = {
        "point": lambda: next(points),
        "points": lambda: torch.stack([x, y, -x / 2]),
        "vector": vector if chart == "ball" else lambda: next(points),
        "vectors": lambda: torch.stack([x, y, -x / 2]),
        "tangent": tangent,
        "number": number,
        "matrix": matrix,
        "weights": lambda: torch.tensor(0.1 + rng.random(3), dtype=dtype),
    }
    return (*(make[kind]() for kind in kinds), c)


def inputs(f: Primitive, dtype: torch.dtype = torch.float32, **options: Any) -> st.SearchStrategy[Any]:
    """Inputs of a primitive, in its chart; unpack as `*vectors, c`. The options are those of the strategies above."""
    chart = f.reference.chart
    if chart not in DRAWS:
        raise ValueError(
            f"{f.name} is of chart {chart!r}; expected one of {', '.join(map(repr, DRAWS))}, or another entry of DRAWS"
        )
    if f.reference.kinds:
        return arguments(f.reference.kinds, dtype, chart=chart, **options)
    if f.vectors == 1:
        options.pop("relations", None)
    return (single if f.vectors == 1 else pair)(chart, dtype, **options)


@lru_cache
def _generators() -> st.SearchStrategy[np.random.Generator]:
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


def _unit(rng: np.random.Generator, dim: int) -> np.ndarray:
    direction = rng.standard_normal(dim)
    return direction / np.linalg.norm(direction)


def _related(
    draw: st.DrawFn, rng: np.random.Generator, x: np.ndarray, y: np.ndarray, relations: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    relation, radius = draw(st.sampled_from(relations)), np.linalg.norm(x)
    if relation in ("near-duplicate", "near-antipode"):
        near = x + radius * 10.0 ** draw(st.floats(-6, -2)) * _unit(rng, len(x))
        y = near if relation == "near-duplicate" else -near
    elif relation == "multiple":
        x = _short(x)
        y = draw(st.integers(-8, 7)) / 8 * x
    elif relation != "independent":
        y = {
            "same radius": radius * y / np.linalg.norm(y),
            "on one line": draw(st.sampled_from((-1, 1))) * draw(st.floats(1e-3, 1)) * x,
            "duplicate": x,
            "antipode": -x,
            "origin": 0 * x,
        }[relation]
    return (y, x) if draw(st.booleans()) else (x, y)


def _short(x: np.ndarray) -> np.ndarray:
    """x cut to eight bits an entry, so that small multiples of it are floats of any dtype but bfloat16."""
    fraction, exponent = np.frexp(x)
    return np.ldexp(np.trunc(256 * fraction) / 256, exponent)


def _inside(x: np.ndarray, c: float, dtype: torch.dtype) -> Tensor:
    """The point in its dtype, pulled back by units in the last place until it is inside, by exact arithmetic."""
    x = x / max(1.0, math.sqrt(c) * float(np.linalg.norm(x)))
    point, steps = torch.tensor(x, dtype=dtype), 0
    while oracle.gap(point.tolist(), c) <= 0:
        steps += 1
        point = torch.tensor(x * (1 - steps * torch.finfo(dtype).eps / 2), dtype=dtype)
    return point


def _as_it_is(x: np.ndarray, c: float, dtype: torch.dtype) -> Tensor:
    return torch.tensor(x, dtype=dtype)


def _with_a_direction(x: np.ndarray, c: float, dtype: torch.dtype) -> Tensor:
    """The vector; 0, which has no direction on a sphere, is its pole."""
    point = torch.tensor(x, dtype=dtype)
    if not bool(point.any()):
        point[0] = 1.0
    return point


def _last_in_lorentz(c: float, dtype: torch.dtype) -> float:
    """Where ‖X‖ is a quarter of the largest float: a slope of a product is as long as two points."""
    return math.asinh(min(1e300, math.sqrt(c) * torch.finfo(dtype).max / 4)) / 2


DRAWS = {  # by chart; a new chart has an entry of its own
    "ball": PointDraw(FARTHEST_POINT, lambda radius, c: math.tanh(radius) / math.sqrt(c), _inside),
    "tangent": PointDraw(_FARTHEST_TANGENT, lambda radius, c: radius / math.sqrt(c), _as_it_is),
    "lorentz": PointDraw(
        _FARTHEST_LORENTZ, lambda radius, c: math.sinh(2 * radius) / math.sqrt(c), _as_it_is, _last_in_lorentz
    ),
    "sphere": PointDraw(3.0, lambda radius, c: radius / math.sqrt(c), _with_a_direction),  # any length will do
}
