"""The Sinkhorn divergence between two weighted point clouds."""

import torch
from jaxtyping import Float
from torch import Tensor

from geomdml._core import checks
from geomdml.spaces import Space
from geomdml.transport.ground import ground_cost
from geomdml.transport.points import sinkhorn_points
from geomdml.transport.sinkhorn import sinkhorn

__all__ = ["sinkhorn_divergence"]

_WHOLE = 2**23  # entries of a matrix of costs


def sinkhorn_divergence(
    x: Float[Tensor, "*batch n D"],
    y: Float[Tensor, "*batch m D"],
    reg: float,
    a: Float[Tensor, "*#batch n"] | None = None,
    b: Float[Tensor, "*#batch m"] | None = None,
    *,
    p: float = 2.0,
    space: Space | None = None,
    max_iter: int = 10_000,
    tol: float | None = None,
) -> Float[Tensor, "*batch"]:
    """OT(α, β) − OT(α, α)/2 − OT(β, β)/2, with the cost d(x, y)^p: entropic transport freed of its bias.

    Zero for equal measures. Non-negative, and zero for no others, where exp(−d^p/reg) is a positive definite kernel:
    in Euclidean space for p ≤ 2, in hyperbolic space for p ≤ 1. As reg → 0 it becomes the cost of optimal transport,
    as reg → ∞ the energy distance (for p = 2 the squared distance of the means).

    Args:
        x, y: (..., n, D) and (..., m, D) points, as the space stores them: two clouds, or as many pairs of them.
        reg: weight of the entropy, > 0, in the unit of d^p.
        a, b: (..., n) and (..., m) their weights, ≥ 0 and of equal sums; None is uniform.
        p: power of the distance, > 0.
        space: whose `pairwise_dist` is the distance; None is Euclidean.
        max_iter, tol: as in `geomdml.transport.sinkhorn`.

    Returns:
        The divergence, a number, at least float32; with first and second derivatives by x, y, a and b.

    Raises:
        ValueError, TypeError: as `geomdml.transport.sinkhorn` and the space's `pairwise_dist`; p ≤ 0.

    Source: Genevay, Peyré & Cuturi, "Learning generative models with Sinkhorn divergences" (2018); Feydy et al.,
    "Interpolating between optimal transport and MMD using Sinkhorn divergences" (2019), theorem 1.

    >>> x = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    >>> float(sinkhorn_divergence(x, x, reg=0.1))
    0.0
    >>> round(float(sinkhorn_divergence(x, x + 3.0, reg=0.1)), 4)  # moved by (3, 3)
    18.0
    """
    checks.positive(p=p)

    def transport(x: Tensor, y: Tensor, a: Tensor | None, b: Tensor | None) -> Tensor:
        if x.ndim == 2 and len(x) * len(y) > _WHOLE:
            return sinkhorn_points(x, y, reg, a, b, p=p, space=space, max_iter=max_iter, tol=tol).value
        return sinkhorn(ground_cost(x, y, p, space), reg, a, b, max_iter=max_iter, tol=tol).value

    across, within_x, within_y = transport(x, y, a, b), transport(x, x, a, a), transport(y, y, b, b)
    value = across - within_x / 2 - within_y / 2
    # Each term is right up to rounding, and a dual value short of its maximum by the square of what the marginals are
    # off: within that, what is below 0 is 0
    rounding = 8 * torch.finfo(value.dtype).eps * torch.stack([across, within_x, within_y]).detach().abs().amax(0)
    noise = rounding + reg * (tol or rounding.new_tensor(torch.finfo(value.dtype).eps).sqrt())
    return value + torch.where((value < 0) & (value > -noise), -value, 0.0).detach()
