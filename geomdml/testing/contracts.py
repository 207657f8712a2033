"""What a function owes its caller, whatever it computes: dtypes, broadcasting, empty inputs, refusals by name.

Each is a plain function of an implementation, as the laws are, and raises `Broken` where it is not kept.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from geomdml.testing.laws import Broken, gradient_of, hold
from geomdml.testing.primitives import Primitive, relative_error

__all__ = [
    "broadcasts",
    "empty_gives_empty",
    "half_is_float32_of_the_rounded",
    "refuses_points_outside",
    "refuses_vectors_not_finite",
    "refuses_what_cannot_be",
]


def half_is_float32_of_the_rounded(implementation: Any, f: Primitive, *vectors: Tensor, c: float) -> float:
    """16-bit inputs give the float32 result of the same numbers, and autocast changes nothing."""
    value = f(implementation, *vectors, c=c)
    expected = f(implementation, *(x.float() for x in vectors), c=c)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = f(implementation, *vectors, c=c)
    if not bool(torch.isfinite(value).all()):
        raise Broken(f"{f.name} of 16-bit inputs is finite", f"found {value}", vectors, c)
    if value.dtype != torch.float32 or not torch.equal(value, expected) or not torch.equal(cast, expected):
        raise Broken(f"{f.name} of 16-bit inputs is that of float32", f"{value}, {cast}, {expected}", vectors, c)
    return 0.0


def broadcasts(implementation: Any, f: Primitive, *vectors: Tensor, c: float) -> float:
    """Leading dimensions broadcast: (2, 1, D) beside (3, D) gives (2, 3) times the value of the vectors."""
    value = f(implementation, *vectors, c=c)
    batched = sum(kind != "matrix" for kind in f.kinds)
    shapes = iter([(2, 1), (3,), ()] if batched > 1 else [(2, 3)])
    leads = (() if kind == "matrix" else next(shapes) for kind in f.kinds)
    tensors = (x.expand((*lead, *x.shape)) for x, lead in zip(vectors, leads, strict=True))
    many = getattr(implementation, f.name)(*tensors, c=c)
    if many.shape != (2, 3, *value.shape):
        raise Broken(f"{f.name} broadcasts", f"shape {tuple(many.shape)}", vectors, c)
    error = max(relative_error(one, value, 2 * f.cancelled(*vectors)) for one in many.flatten(0, 1))
    return hold(f"{f.name} broadcasts", error, 2 * f.bar(*vectors), vectors, c)


def empty_gives_empty(implementation: Any, f: Primitive, *, dtype: torch.dtype, c: float = 0.5) -> float:
    """No vectors, no values, and a backward pass that runs."""
    inputs = [_filled(kind, 0.0, (0,)).to(dtype).requires_grad_() for kind in f.kinds]
    value = getattr(implementation, f.name)(*inputs, c=c)
    value.sum().backward()
    if value.numel() or any(gradient_of(x).shape != x.shape for x in inputs):
        raise Broken(f"{f.name} of nothing is nothing", f"found {value}", inputs, c)
    return 0.0


def refuses_what_cannot_be(implementation: Any, f: Primitive, *, c: float = 0.5) -> float:
    """Curvature, dtype and shape that make no sense are refused, by a message that names the argument."""
    function, names = getattr(implementation, f.name), _arguments(implementation, f)
    good = [_filled(kind, 0.1) for kind in f.kinds]
    for wrong in (0.0, -1.0, math.nan, math.inf, torch.tensor(0.0), torch.tensor(math.nan)):
        _refused(ValueError, ["c = "], function, good, wrong)
    long = {name for name, kind in zip(names, f.kinds, strict=True) if kind in ("point", "vector", "tangent", "matrix")}
    for i, name in enumerate(names):
        for dtype in (torch.int64, torch.bool, torch.complex64):
            _refused(TypeError, [name], function, [*good[:i], good[i].to(dtype), *good[i + 1 :]], c)
        if len(long) > 1 and name in long:
            _refused(ValueError, sorted(long), function, [*good[:i], torch.full((2, 4), 0.1), *good[i + 1 :]], c)
    return 0.0


def refuses_points_outside(ball: Any, f: Primitive, outside: Tensor, *, c: float) -> float:
    """A point that is not inside the ball is refused, by a message that names the argument."""
    names = _arguments(ball, f)
    for i, name in enumerate(names):
        if f.kinds[i] in ("point", "points"):
            inputs = [_filled(kind, 0.1, (1,), len(outside)) for kind in f.kinds]
            inputs[i] = outside.expand_as(inputs[i])
            _refused(ValueError, [name], getattr(ball, f.name), inputs, c)
    return 0.0


def refuses_vectors_not_finite(implementation: Any, f: Primitive, value: float, *, c: float = 0.5) -> float:
    """A vector with a NaN or an infinity is refused, by a message that names the argument."""
    names = _arguments(implementation, f)
    for i, name in enumerate(names):
        inputs = [_filled(kind, value if i == j else 0.1, (1,)) for j, kind in enumerate(f.kinds)]
        _refused(ValueError, [name], getattr(implementation, f.name), inputs, c)
    return 0.0


def _arguments(implementation: Any, f: Primitive) -> list[str]:
    return [name for name in inspect.signature(getattr(implementation, f.name)).parameters if name != "c"][: f.vectors]


def _filled(kind: str, value: float, lead: tuple[int, ...] = (2,), dim: int = 3) -> Tensor:
    """A tensor of one value, of the shape that an argument of this kind has."""
    points = (*lead, 2, dim)
    shapes = {"number": lead, "matrix": (2, dim), "points": points, "vectors": points, "weights": (*lead, 2)}
    return torch.full(shapes.get(kind, (*lead, dim)), value)


def _refused(
    error: type[Exception], named: list[str], function: Callable[..., Any], inputs: list[Tensor], c: Any
) -> None:
    try:
        function(*inputs, c=c)
    except error as refusal:
        words = str(refusal).replace(":", " ").replace(",", " ").split()
        if not all(name in str(refusal) if " " in name else name in words for name in named):
            raise Broken(f"{function.__name__} names {named}", f"said {refusal}", inputs, c) from refusal
    else:
        raise Broken(f"{function.__name__} raises {error.__name__} about {named}", "it did not", inputs, c)
