"""Definitions that are evaluated to fifty digits: what `geomdml.testing.oracle` is made of.

Every reference takes vectors (tensors or sequences of floats) and c, each float for exactly the number it is, and works
with as many digits as leave fifty right ones. Where digits go: 1 − c‖x‖², a point at unit-curvature distance A from the
origin, loses A/ln 10 of them, in the Klein model twice that; the difference of two floats, or of a hyperbolic cosine
and 1, up to the square of the span from 1 down to their last bits. So, with the sum over the points,

    digits = 60 + 2·(Σ A)/ln 10 + 2·(17 + span),        span = log10(1/(√c · smallest entry)) ≥ 0:

about 150 at radius 1e-20, about 1200 for two points at radius 300.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

from mpmath import mp, mpf
from torch import Tensor

__all__ = [
    "Floats",
    "Reference",
    "Vector",
    "exact",
    "gap",
    "in_ball",
    "in_lorentz_model",
    "in_tangent_chart",
    "norm",
    "taking",
]

Vector = list[mpf]
Floats = Tensor | Sequence[Any]
_CHARTS = ("ball", "tangent", "lorentz")
_WALK_DIGITS = 60  # digits to walk far enough, from points that are not farther, to end at the boundary to fifty digits


class Reference:
    """A definition, evaluated to fifty digits on the exact values of its inputs.

    How many digits that takes is known for the charts of hyperbolic space; in another space, `working_digits` says.

    Args:
        definition: a function of vectors and the keyword c, all in `mpf`; its value is a number or a vector.
        chart: "ball", "tangent" or "lorentz", where its vectors live.
        kinds: what each argument is, where they are not all vectors of the chart. In the ball "point", "points",
            "vector" (at the first point), "number", "matrix" or "weights"; in another chart "vector" (a point, by its
            vector), "vectors", "tangent" (a vector at the first point), "number" or "weights". It comes to the
            definition as a flat list.
    """

    def __init__(
        self,
        definition: Callable[..., Any],
        chart: str,
        kinds: Sequence[str] = (),
        *,
        working_digits: int | None = None,
    ) -> None:
        if chart not in _CHARTS and working_digits is None:
            raise ValueError(
                f"chart = {chart!r} of {definition.__name__}; expected one of {', '.join(map(repr, _CHARTS))}, or "
                "working_digits beside it"
            )
        self.working_digits = working_digits
        self.definition, self.chart, self.kinds = definition, chart, tuple(kinds)
        self.__name__, self.__doc__ = definition.__name__, definition.__doc__

    def digits(self, *vectors: Floats, c: Any) -> int:
        """Digits to work with, as the module's docstring says."""
        if self.working_digits is not None:
            return self.working_digits
        if self.chart == "ball":
            kinds = self.kinds or ("point",) * len(vectors)
            points = [x for x, kind in zip(vectors, kinds, strict=True) if kind == "point"]
            points += [x for xs, kind in zip(vectors, kinds, strict=True) if kind == "points" for x in xs]
            depth = sum(math.log(4) - math.log(gap(x, c)) for x in points) / math.log(10)
            depth += _WALK_DIGITS * sum(kind in ("vector", "number", "matrix") for kind in kinds)
        else:
            depth = self._depth(vectors, c) / math.log(10)
        smallest = min((abs(value) for vector in vectors for value in _flat(vector) if value != 0), default=1.0)
        span = max(0.0, -math.log10(math.sqrt(float(c)) * smallest))
        return math.ceil(60 + 2 * depth + 2 * (17 + span))

    def _depth(self, vectors: Sequence[Floats], c: Any) -> float:
        """Σ A of the vectors, times the longest way along them where one is a number."""
        depth, times = 0.0, 1.0
        for vector, kind in zip(vectors, self.kinds or ("vector",) * len(vectors), strict=True):
            if kind == "number":
                times = 1 + 2 * abs(_flat(vector)[0])
            elif kind != "weights":
                for u in vector if kind == "vectors" else [vector]:
                    z = math.sqrt(float(c)) * math.hypot(*map(float, u))
                    depth += 2 * z if self.chart == "tangent" or kind == "tangent" else math.asinh(z)
        return depth * times

    def __call__(self, *vectors: Floats, c: Any) -> Any:
        digits = self.digits(*vectors, c=c)
        with mp.workdps(digits):
            value = self.definition(*map(exact, vectors), c=mpf(float(c)))
            right = digits - self._lost_on_the_way_back(vectors, c)
            return _cleared(value, right) if isinstance(value, list) else _cleared([value], right)[0]

    def _lost_on_the_way_back(self, vectors: Sequence[Floats], c: Any) -> int:
        """Digits that a walk from far out to the origin leaves of a 0 there; of the ball, `digits` counts them."""
        polar = self.chart != "ball" and self.working_digits is None
        return math.ceil(self._depth(vectors, c) / math.log(10)) if polar else 0

    def jacobian(self, *vectors: Floats, c: Any) -> list[list[Vector]]:
        """Derivatives by each vector and, last, by c: a list over the entries, each the derivative of all outputs.

        Central differences with a step of 10^−digits, smaller than the square of anything the inputs hold: its error,
        third order, is beyond the fifty digits; three times the digits pay for the subtraction.
        """
        digits = self.digits(*vectors, c=c)
        with mp.workdps(3 * digits):
            step = mpf(10) ** -digits
            inputs = [*map(exact, vectors), [mpf(float(c))]]

            def shifted(i: int, j: int, by: mpf) -> Vector:
                moved = [list(vector) for vector in inputs]
                moved[i][j] += by
                value = self.definition(*moved[:-1], c=moved[-1][0])
                return value if isinstance(value, list) else [value]

            def derivative(i: int, j: int) -> Vector:
                below, above = shifted(i, j, -step), shifted(i, j, step)
                return _cleared([(b - a) / (2 * step) for a, b in zip(below, above, strict=True)], digits)

            return [[derivative(i, j) for j in range(len(inputs[i]))] for i in range(len(inputs))]


def exact(vector: Floats) -> Vector:
    """The entries as the numbers they are."""
    return [mpf(value) for value in _flat(vector)]


def gap(x: Floats, c: Any) -> Fraction:
    """1 − c‖x‖², exactly; above zero inside the ball.

    >>> gap([0.5, 0.5], c=1.0)
    Fraction(1, 2)
    """
    return 1 - Fraction(float(c)) * sum(Fraction(float(value)) ** 2 for value in x)


def norm(x: Iterable[mpf]) -> mpf:
    """Euclidean norm."""
    return mp.sqrt(mp.fsum(x, squared=True))


def in_ball(definition: Callable[..., Any]) -> Reference:
    """Decorates a definition whose arguments are points of the ball."""
    return Reference(definition, "ball")


def in_tangent_chart(definition: Callable[..., Any]) -> Reference:
    """Decorates a definition whose arguments are tangent vectors at the origin."""
    return Reference(definition, "tangent")


def in_lorentz_model(definition: Callable[..., Any]) -> Reference:
    """Decorates a definition whose arguments are the space components of points of the hyperboloid."""
    return Reference(definition, "lorentz")


def taking(*kinds: str, chart: str = "ball") -> Callable[[Callable[..., Any]], Reference]:
    """Decorates a definition with arguments of these kinds, in the ball or another chart."""
    return lambda definition: Reference(definition, chart, kinds)


def _flat(vector: Floats) -> list[float]:
    return vector.detach().flatten().tolist() if isinstance(vector, Tensor) else [float(value) for value in vector]


def _cleared(values: Vector, digits: int) -> Vector:
    """What is too small for these digits is the rounding error of a 0: no value of floats comes that near to it."""
    return [value if abs(value) > mpf(10) ** (20 - digits) else mpf(0) for value in values]
