"""Euclidean space, with the two functions that every space of the library has."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from geomdml import autograd, checks
from geomdml.numerics import home, norm, result_form, squared_distances, tolerated_loss, wide


def dist(x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*#batch"]:
    """Euclidean distance ‖x − y‖.

    Args:
        x, y: (..., D) vectors; leading dimensions broadcast.

    Returns:
        (...) distances, at least float32; the gradient between equal vectors is 0.

    Raises:
        ValueError, TypeError: shapes that do not match, dtypes that are not real floating point.

    Source: the definition, evaluated in float64.

    >>> dist(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0]))
    tensor(5.)
    """
    checks.vectors(x=x, y=y)
    checks.finite(x=x, y=y)
    return norm(wide(x) - wide(y)).squeeze(-1).to(**result_form(x, y))


def pairwise_dist(x: Float[Tensor, "B D"], y: Float[Tensor, "P D"], *, squared: bool = False) -> Float[Tensor, "B P"]:
    """All Euclidean distances between two lists of vectors, or their squares, in O(B·P) memory.

    Args:
        x, y: (B, D) and (P, D) vectors.
        squared: return ‖x − y‖² instead.

    Returns:
        (B, P) distances, at least float32; exactly 0 for equal vectors, with gradient 0.

    Raises:
        ValueError, TypeError: as `dist`.

    Source: ‖x‖² + ‖y‖² − 2⟨x, y⟩ in float64, and the difference itself where that cancels.

    >>> x = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    >>> pairwise_dist(x, x)
    tensor([[0., 5.],
            [5., 0.]])
    """
    checks.pairs(x=x, y=y)
    checks.finite(x=x, y=y)
    result = _SquaredDistance.apply(x, y)
    if not squared:
        nonzero = result > 0
        result = torch.where(nonzero, torch.where(nonzero, result, 1.0).sqrt(), 0.0)
    return result.to(**result_form(x, y))


@autograd.operator("squared_distances(Tensor x, Tensor y) -> Tensor", lambda x, y: _empty(x, y))
def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    return squared_distances(wide(x), wide(y), tolerated_loss(x, y))


def _empty(x: Tensor, y: Tensor) -> Tensor:
    return x.new_empty((len(x), len(y)), dtype=torch.float64, device=home(x.device))


class _SquaredDistance(torch.autograd.Function):
    """‖x_i − y_j‖² in float64 with the gradient 2(x_i − y_j), which needs no more than the inputs."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor) -> Tensor:
        return _squared_distances(x, y)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, y = map(wide, ctx.saved_tensors)
        grad_x = 2 * (grad.sum(1, keepdim=True) * x - grad @ y)
        grad_y = 2 * (grad.sum(0).unsqueeze(1) * y - grad.T @ x)
        return grad_x.to(ctx.saved_tensors[0]), grad_y.to(ctx.saved_tensors[1])


def clip_norm(v: Float[Tensor, "*#batch D"], max_norm: float) -> Float[Tensor, "*#batch D"]:
    """min(1, r/‖v‖)·v: vectors longer than r = `max_norm` cut back to it, the others untouched.

    Args:
        v: (..., D) vectors.
        max_norm: the largest norm allowed, > 0; infinity clips nothing.

    Returns:
        (..., D) vectors, at least float32. The gradient at 0 is the identity (the printed formula's is NaN).

    Raises:
        ValueError, TypeError: max_norm ≤ 0 or NaN, a dtype that is not real floating point.

    Source: Guo et al., "Clipped hyperbolic classifiers" (2022), equation (8); CHEST uses r = 2.3.

    >>> clip_norm(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), 1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    checks.vectors(v=v)
    if not max_norm > 0:
        raise ValueError(f"max_norm = {max_norm}; want a number above 0")
    v64 = wide(v)
    length = norm(v64)
    longer = length > max_norm * (1 + 4 * torch.finfo(length.dtype).eps)  # but for the rounding of the norm itself
    return torch.where(longer, v64 * (max_norm / torch.where(longer, length, 1.0)), v64).to(**result_form(v))
