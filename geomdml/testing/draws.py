"""What hypothesis draws for the laws: strategies of all the inputs that one law is asked on, (*vectors, c)."""

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st

from geomdml.testing import strategies
from geomdml.testing.laws import BALL
from geomdml.testing.primitives import Primitive

__all__ = [
    "CURVED",
    "Inputs",
    "after",
    "and_a_number",
    "anywhere",
    "boosts",
    "clouds",
    "fixed",
    "in_16_bits",
    "lists",
    "near_too",
    "triples",
    "two_vectors",
    "with_a_point_between",
]

Inputs = st.SearchStrategy[Any]  # (*vectors, c)

CURVED = 3.0  # the radius within which rounding a point of the ball does not blur it
_NUMBERS = st.sampled_from((-1.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 3.0))  # sums and products are floats


def fixed(*values: st.SearchStrategy[Any], c: float = 0.5) -> Callable[..., Inputs]:
    return lambda *args, **options: st.tuples(*values, st.just(c))


def in_16_bits(f: Primitive, dtype: torch.dtype, **options: Any) -> Inputs:
    return st.sampled_from((torch.bfloat16, torch.float16)).flatmap(lambda half: strategies.inputs(f, half, **options))


def anywhere(dtype: torch.dtype, **options: Any) -> Inputs:
    return st.one_of(strategies.points(dtype, **options), strategies.tangents(dtype, **options))


def near_too(draw: Callable[..., Inputs]) -> Callable[..., Inputs]:
    """Every other time within `CURVED`, where the rounding of points leaves something to ask."""

    def inputs(dtype: torch.dtype, farthest: float = strategies.FARTHEST_POINT, **options: Any) -> Inputs:
        return st.one_of(*(draw(dtype, farthest=r, **options) for r in (min(CURVED, farthest), farthest)))

    return inputs


def after(count: int, draw: Callable[..., Inputs]) -> Callable[..., Inputs]:
    """Numbers, and what is drawn."""
    numbers = st.tuples(*[_NUMBERS] * count)
    return lambda dtype, **options: st.builds(lambda r, drawn: (*r, *drawn), numbers, draw(dtype, **options))


def and_a_number(draw: Callable[..., Inputs]) -> Callable[..., Inputs]:
    return lambda dtype, **options: st.builds(
        lambda drawn, t: (*drawn[:-1], t, drawn[-1]), draw(dtype, **options), _NUMBERS
    )


def triples(dtype: torch.dtype, **options: Any) -> Inputs:
    """Two points in each of the relations, and a third."""
    pairs = near_too(strategies.point_pairs)(dtype, **options)
    turned = st.sampled_from((-1, 0.5))
    return st.builds(lambda pair, share: (pair.x, pair.y, share * pair.x.roll(1), pair.c), pairs, turned)


def two_vectors(dtype: torch.dtype, **options: Any) -> Inputs:
    drawn: Inputs = strategies.inputs(BALL["gyration"], dtype, **options)
    return drawn.map(lambda drawn: (*drawn[:3], drawn[0] + 2 * drawn[1], drawn[3]))


def boosts(dtype: torch.dtype, **options: Any) -> Inputs:
    """(X, Y, V, c), the boost to V one to the points, away from one, or elsewhere."""
    shares = st.sampled_from(((1, 0), (0, 1), (-1, 0), (1, -1)))
    return st.builds(
        lambda pair, share: (pair.x, pair.y, share[0] * pair.x + share[1] * pair.y, pair.c),
        strategies.lorentz_pairs(dtype, **options),
        shares,
    )


def clouds(dtype: torch.dtype, **options: Any) -> Inputs:
    """A point, and fifty between the origin, it and another."""

    def cloud(pair: strategies.Pair, seed: int) -> tuple[Any, ...]:
        s, t = torch.rand((2, 50, 1), generator=torch.Generator().manual_seed(seed), dtype=dtype)
        return pair.x, s * pair.x + (1 - s) * t * pair.y, pair.c

    return st.builds(cloud, strategies.lorentz_pairs(dtype, **options), st.integers(0, 999))


def lists(f: Primitive, dtype: torch.dtype, **options: Any) -> Inputs:
    pairs: Inputs = strategies.inputs(f, dtype, **options)
    return pairs.map(lambda pair: (torch.stack([pair.x, pair.y, -pair.x]), torch.stack([pair.y, pair.x]), pair.c))


def with_a_point_between(f: Primitive, dtype: torch.dtype, **options: Any) -> Inputs:
    """(x, y, z, c), y on the line through the origin and x, the origin, or half-way between x and z."""
    reach = 2 if f.reference.chart == "tangent" else 1  # no end of the space, or of the floats, is passed
    shares = st.one_of(st.tuples(st.floats(-reach, reach), st.just(0.0)), st.sampled_from(((0.5, 0.5), (0.0, 0.0))))

    def between(pair: strategies.Pair, share: tuple[float, float]) -> tuple[Any, ...]:
        y = share[0] * pair.x + share[1] * pair.y
        no_point = f.reference.chart == "sphere" and not bool(y.any())
        return pair.x, pair.x if no_point else y, pair.y, pair.c

    return st.builds(between, strategies.inputs(f, dtype, **options), shares)
