"""A curvature for each head: functions of one c, for c of any shape that broadcasts to the points.

Every function here is homogeneous: at curvature c/s² of s·x it is s^n times what it is at c of x. So at several
curvatures it is what it is at 1 of √c·x, over √c^n. The points are scaled in float64.
"""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from geomdml._core import checks
from geomdml._core.exact import round_inside
from geomdml._core.numerics import result_form
from geomdml._core.polar import Widened

Curvature = float | Float[Tensor, "..."]

_PURE = {"c", "t", "r", "M", "weights"}  # arguments that have no length


def for_each_curvature(
    gives: Literal["vectors", "points of the ball", "numbers", "pairs"], degree: int = 1, *, of_lists: bool = False
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Lets a function of points and one c take c of shape (..., 1), which broadcasts to the points (..., D).

    Args:
        gives: what the result holds for each curvature: vectors or points of the ball (..., D), numbers (...), or all
            pairs (..., B, P).
        degree: n above.
        of_lists: whether the function takes lists of points (..., N, D), such as a mean does: c is then (..., 1, 1).
    """

    def decorate(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        named = signature(function)

        @wraps(function)
        def at_curvatures(*inputs: Any, c: Curvature, **options: Any) -> Tensor:
            if not isinstance(c, Tensor) or c.ndim == 0:
                return function(*inputs, c=c, **options)
            given = named.bind(*inputs, c=1.0, **options)
            points = {n: x for n, x in given.arguments.items() if isinstance(x, Tensor) and n not in _PURE}
            checks.floating(c=c, **points)
            check(c, next(iter(points.values())), of_lists=of_lists or gives == "pairs")
            root, form = Widened.apply(c).sqrt(), result_form(*points.values())
            given.arguments.update({name: Widened.apply(x) * root for name, x in points.items()})
            found = function(*given.args, **given.kwargs)
            root = root.squeeze(-2) if of_lists else root.squeeze(-1) if gives == "numbers" else root
            found = found / root**degree
            return round_inside(found, root.detach() ** 2, form) if gives == "points of the ball" else found.to(**form)

        return at_curvatures

    return decorate


def check(c: Curvature, points: Tensor, *, of_lists: bool = False) -> None:
    """Refuse a c that is no number above 0, nor a tensor of them for such points: (..., 1), for lists (..., 1, 1)."""
    if not isinstance(c, Tensor) or c.ndim == 0:
        return checks.positive(c=c)
    checks.floating(c=c)
    if c.shape[-1] != 1 or (of_lists and c.shape[-2:] != (1, 1)):
        expected = "(..., 1, 1)" if of_lists else "(..., 1)"
        raise ValueError(f"c has shape {tuple(c.shape)}; expected a number, a 0-d tensor, or {expected}")
    try:
        torch.broadcast_shapes(c.shape, points.shape)
    except RuntimeError:
        raise ValueError(
            f"c has shape {tuple(c.shape)}, which does not broadcast to points of shape {tuple(points.shape)}"
        ) from None
    if checks.values_are_checked(c) and not bool(((c > 0) & c.isfinite()).all()):
        raise ValueError("c has values that are not finite and above 0")
    return None
