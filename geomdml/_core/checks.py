"""What a caller may hand in, checked and refused by name.

Shape and dtype are always checked. Values (a curvature above zero, points inside the ball, finite numbers) cost a
pass over the data and, on a GPU, a wait for it; so they are checked on eager CPU tensors, everywhere under
`geomdml.validation(True)`, nowhere under `geomdml.validation(False)`, and never inside `torch.compile` or a
transform of `torch.func`.
"""

import math
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Real
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from geomdml import _native
from geomdml._core.numerics import curvature

Scalar = float | Float[Tensor, ""]
Numbers = float | Float[Tensor, "*#batch"]

_validation: ContextVar[bool | None] = ContextVar("geomdml_validation", default=None)


@contextmanager
def validation(enabled: bool) -> Iterator[None]:
    """Within the block, check the values of every input (True) or of none (False).

    >>> import torch, geomdml
    >>> outside = torch.tensor([[2.0, 0.0]])
    >>> with geomdml.validation(False):
    ...     _ = geomdml.poincare.dist(outside, outside, c=1.0)
    """
    token = _validation.set(enabled)
    try:
        yield
    finally:
        _validation.reset(token)


def transformed(*tensors: Tensor) -> bool:
    """Whether a tensor is one of those that `torch.func` maps or differentiates, whose values cannot be asked for."""
    return not torch.compiler.is_compiling() and any(map(torch._C._functorch.is_functorch_wrapped_tensor, tensors))


def none_of(mask: Tensor) -> bool:
    """Whether a mask is known to have no true entry, so that what is for those need not be computed."""
    return _native.at_hand(mask) and not bool(mask.any())


def values_are_checked(*tensors: Tensor) -> bool:
    if torch.compiler.is_compiling() or transformed(*tensors):
        return False
    enabled = _validation.get()
    return all(t.device.type == "cpu" for t in tensors) if enabled is None else enabled


def floating(**tensors: Tensor) -> None:
    """Refuse what is not a tensor of real floating-point numbers."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} is a {type(tensor).__name__}; expected a torch.Tensor of floating-point numbers")
        if not tensor.is_floating_point():
            raise TypeError(f"{name} has dtype {tensor.dtype}; expected a real floating-point dtype")


def vectors(**tensors: Tensor) -> None:
    """Refuse what is not vectors of one common length in the last dimension, with leading dimensions that broadcast."""
    floating(**tensors)
    for name, tensor in tensors.items():
        if tensor.ndim == 0 or tensor.shape[-1] == 0:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected vectors in the last dimension")
    same_length(**tensors)
    if not _broadcast([tensor.shape for tensor in tensors.values()]):
        raise ValueError(f"leading dimensions do not broadcast: {_shapes(tensors)}")


def _broadcast(shapes: list[torch.Size]) -> bool:
    """Whether torch.broadcast_shapes takes them; it takes longer than a small distance itself."""
    for place in range(1, 1 + max(map(len, shapes))):
        size = 1
        for shape in shapes:
            if len(shape) < place or shape[-place] == 1:
                continue
            if size not in (1, shape[-place]):
                return False
            size = shape[-place]
    return True


def curved(c: Scalar, **tensors: Tensor) -> Tensor:
    """Refuse what is not `vectors` and an absolute curvature above zero; the latter in float64, beside the vectors."""
    vectors(**tensors)
    positive(c=c)
    return curvature(c, next(iter(tensors.values())))


def rows(**tensors: Tensor) -> None:
    """Refuse what is not two lists of vectors, (B, D) and (P, D)."""
    floating(**tensors)
    for name, tensor in tensors.items():
        if tensor.ndim != 2 or tensor.shape[-1] == 0:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected a list of vectors, (count, D)")
    same_length(**tensors)


def batch(**tensors: Tensor) -> None:
    """Refuse what is not a batch of at least one embedding, (B, D): the mean of an empty one is not defined."""
    rows(**tensors)
    for name, tensor in tensors.items():
        if not len(tensor):
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected (B, D) with B ≥ 1")


def labels(
    count: int | None = None, classes: int | None = None, *, device: torch.device | None = None, **named: Tensor
) -> Tensor:
    """A row of integers of any dtype as int64, on a device where one is given.

    Refused is what is not one row, not `count` long, or not from 0 to classes − 1, where these are given.
    """
    ((name, tensor),) = named.items()
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} is a {type(tensor).__name__}; expected a torch.Tensor of integers")
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"{name} has dtype {tensor.dtype}; expected integers (float32 merges 16777216 and 16777217)")
    if tensor.ndim != 1 or (count is not None and len(tensor) != count):
        wanted = "one row" if count is None else f"({count},)"
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected {wanted}, one an embedding")
    whole = tensor.long()
    if classes is not None and len(whole) and values_are_checked(whole):
        low, high = int(whole.min()), int(whole.max())
        if not 0 <= low <= high < classes:
            raise ValueError(f"{name} go from {low} to {high}; expected 0 to {classes - 1}")
    return whole if device is None else whole.to(device)


def same_length(**tensors: Tensor) -> None:
    """Refuse vectors whose lengths, the last dimensions, differ."""
    first, *others = (tensor.shape[-1] for tensor in tensors.values())  # a set would make of each length a new graph
    if any(length != first for length in others):
        raise ValueError(f"last dimensions differ: {_shapes(tensors)}; expected vectors of the same length")


def numbers(shape: torch.Size, **values: int | float | Tensor) -> None:
    """Refuse what is not a finite number, or a tensor of them that broadcasts to the leading dimensions `shape`."""
    for name, value in values.items():
        if isinstance(value, Tensor):
            floating(**{name: value})
            try:
                torch.broadcast_shapes(value.shape, shape)
            except RuntimeError:
                raise ValueError(
                    f"{name} has shape {tuple(value.shape)}; expected a number, or what broadcasts to {tuple(shape)}"
                ) from None
            finite(**{name: value})
        elif isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name} is a {type(value).__name__}; expected a number or a tensor")
        elif not abs(value) < math.inf:  # a comparison, which torch.compile takes of a number that it does not know
            raise ValueError(f"{name} = {value}; expected a finite number")


def weights(given: Tensor | None, **points: Tensor) -> Tensor:
    """Weights of (..., N, D) points, 1 where none are given.

    Refused is what is not points, and weights that do not broadcast to them, are below 0, not finite or sum to 0.
    """
    ((name, x),) = points.items()
    if x.ndim < 2 or x.shape[-2] == 0:
        raise ValueError(f"{name} has shape {tuple(x.shape)}; expected points in the last two dimensions, (..., N, D)")
    if given is None:
        return torch.ones(x.shape[-2], device=x.device)
    floating(weights=given)
    numbers(x.shape[:-1], weights=given)
    if given.shape[-1:] != x.shape[-2:-1]:
        raise ValueError(f"weights has shape {tuple(given.shape)}; expected one for each of {x.shape[-2]} points")
    if values_are_checked(given) and not bool(((given >= 0).all(-1) & (given > 0).any(-1)).all()):
        raise ValueError("weights has values below 0, or nothing above 0; expected weights of a mean")
    return given


def positive(**values: int | float | Tensor) -> None:
    """Refuse a scalar (a number or a 0-d tensor) that is not finite and above zero."""
    for name, value in values.items():
        if isinstance(value, Tensor):
            floating(**{name: value})
            if value.ndim != 0:
                raise ValueError(f"{name} has shape {tuple(value.shape)}; expected a number or a 0-d tensor")
            if not values_are_checked(value):
                continue
            value = value.detach()
        elif isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name} is a {type(value).__name__}; expected a number or a 0-d tensor")
        if not 0 < float(value) < float("inf"):
            raise ValueError(f"{name} = {float(value)}; expected a finite number above 0")


def integer(least: int | None = None, **named: Any) -> int:
    """A whole number as an int: of Python's or NumPy's, or a tensor of one. Refused is what is none, or too small."""
    ((name, value),) = named.items()
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or getattr(value, "dtype", None) == torch.bool:
        raise TypeError(f"{name} is a {type(value).__name__}; expected an integer")
    if least is not None and number < least:
        raise ValueError(f"{name} = {number}; expected at least {least}")
    return number


def finite(**tensors: Tensor) -> None:
    """Refuse NaN and infinity, where values are checked."""
    for name, tensor in tensors.items():
        # One pass finds the sum not finite; only then is it worth asking which entry.
        if not values_are_checked(tensor) or math.isfinite(tensor.detach().sum()):
            continue
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} has {int((~torch.isfinite(tensor)).sum())} entries that are NaN or infinite")


def _shapes(tensors: dict[str, Tensor]) -> str:
    return ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
