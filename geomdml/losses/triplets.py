"""Distances and ancestors of many triplets of points, without a (triplet, pair, D) tensor.

All that two points have to do with each other and the origin is in their lengths and inner product. So the Gram
matrices of the triplets, (M, 3, 3), are all that is asked of the vectors; they are made block by block, and so is the
gradient. In float64 the angle of two vectors then has 16 digits less those that 1 − cos θ cancels. The few pairs where
that is too many, or whose points are at the origin or very far from it, are computed one to one.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geomdml import tangent
from geomdml._core import checks
from geomdml._core.autograd import Function, in_forward_mode
from geomdml._core.numerics import (
    LARGEST_RADIUS,
    LOG2,
    asinh_exp,
    curvature,
    entries,
    log_cosh,
    log_sinh,
    result_form,
    sinh_half_squared,
    tolerated_loss,
    wide,
)

__all__ = ["FIRST", "SECOND", "distances_and_depths"]

_BLOCK = 256  # triplets at a time: their vectors stay in the caches
FIRST = (0, 0, 1)  # points of a triplet's three pairs
SECOND = (1, 2, 2)
_NEAREST = 1e-4  # the radius below which the derivative by c cancels


def distances_and_depths(
    points: Float[Tensor, "N D"], triplets: Int[Tensor, "M 3"], *, c: float | Tensor
) -> tuple[Float[Tensor, "M 3"], Float[Tensor, "M 3"]]:
    """`tangent.dist` and `tangent.lca_depth` of the pairs 12, 13, 23 of triplets of points.

    Args:
        points: (N, D) tangent vectors at the origin.
        triplets: (M, 3) indices of them.
        c: absolute curvature, > 0.

    Returns:
        (M, 3) distances and depths, at least float32, differentiable.

    >>> points = torch.tensor([[3.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> dist, depth = distances_and_depths(points, torch.tensor([[0, 1, 2]]), c=1.0)
    >>> dist[0, 0], depth[0, 0]
    (tensor(2.), tensor(4.))
    """
    gram = _gram(wide(points)[triplets]) if in_forward_mode() else _Gram.apply(points, triplets)
    squares = gram.diagonal(dim1=1, dim2=2)
    usable = (squares > 0) & squares.isfinite()
    safe = torch.where(usable, squares, 1.0)
    root_c = curvature(c, points).sqrt()
    first, second = torch.triu_indices(3, 3, offset=1, device=points.device)  # made there: a GPU waits for a copy
    A, B = ((2 * root_c * safe.sqrt())[:, side] for side in (first, second))
    cosine = gram[:, first, second] / (safe[:, first] * safe[:, second]).sqrt()
    sine_squared = (1 - cosine) / 2
    with torch.no_grad():
        tolerated = tolerated_loss(points)
        known = (sine_squared > tolerated) & (sine_squared < 1 - tolerated) & (torch.minimum(A, B) > _NEAREST)
        known &= (torch.maximum(A, B) < LARGEST_RADIUS) & usable[:, first] & usable[:, second]
    # What is not known is replaced by a harmless pair: no infinite slope may reach the backward pass.
    A, B, s = (torch.where(known, w, harmless) for w, harmless in ((A, 1.0), (B, 1.0), (sine_squared, 0.5)))
    q = sinh_half_squared(A, B, s)
    delta = 2 * q.sqrt().asinh()
    depth = _ancestor_depth(A, B, delta, s.sqrt(), (1 - s).sqrt())
    dist, depth = delta / root_c, depth / root_c
    # Where they are cannot be asked in a transform or while compiling: all pairs, instead of the few.
    if torch.compiler.is_compiling() or checks.transformed(points, triplets):
        u, v = (wide(points)[triplets[:, side]] for side in (first, second))
        dist = torch.where(known, dist, tangent.dist(u, v, c=c))
        depth = torch.where(known, depth, tangent.lca_depth(u, v, c=c))
        return dist.to(**result_form(points)), depth.to(**result_form(points))
    for i, pair in entries(~known, points.shape[1]):
        u, v = (wide(points)[triplets[i, side[pair]]] for side in (first, second))
        dist = dist.index_put((i, pair), tangent.dist(u, v, c=c))
        depth = depth.index_put((i, pair), tangent.lca_depth(u, v, c=c))
    return dist.to(**result_form(points)), depth.to(**result_form(points))


def _ancestor_depth(A: Tensor, B: Tensor, delta: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
    """How far a segment at c = 1 is from the origin: from the radii and distance of its ends, sin(θ/2) and cos(θ/2)."""
    near, far = torch.minimum(A, B), torch.maximum(A, B)
    with torch.no_grad():
        foot_inside = LOG2 + log_cosh(near) + log_sinh(far) + 2 * sine.log() > log_sinh(far - near)
    # Where the perpendicular is not used its inputs are replaced: no infinite slope may reach the backward pass.
    a, b, s, t, side = (torch.where(foot_inside, q, 1.0) for q in (A, B, sine, cosine, delta))
    height = asinh_exp(log_sinh(a) + log_sinh(b) + LOG2 + s.log() + t.log() - log_sinh(side))
    return torch.where(foot_inside, height, near)


def _gram(vectors: Tensor) -> Tensor:
    return vectors @ vectors.mT


class _Gram(Function):
    """(M, 3, 3) inner products, in float64, of the vectors that each triplet names."""

    @staticmethod
    def forward(points: Tensor, triplets: Tensor) -> Tensor:
        vectors = (wide(points[some]) for some in triplets.split(_BLOCK))
        return torch.cat(list(map(_gram, vectors)))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        points, triplets = ctx.saved_tensors
        result = torch.zeros_like(points, **result_form(points))  # halves would lose what is added
        result = result + grad.new_zeros(())  # mapped by vmap where the gradient is
        for some, g in zip(triplets.split(_BLOCK), (grad + grad.mT).split(_BLOCK), strict=True):
            slope = (g @ wide(points[some])).flatten(0, 1)
            result.index_add_(0, some.flatten(), slope.to(result))
        return result.to(points), None
