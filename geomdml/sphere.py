"""The sphere of curvature c, its points given by vectors of any length: what counts is the direction.

So an embedding needs no normalisation, a step of any optimiser stays on the sphere, and no vector but 0 lies outside.
Results are as long as the radius, 1/√c. A tangent vector at x is a vector at a right angle to x, as long as the way
that it leads. Distances are angles over √c, from 0 to π/√c: great circles, not the cosine.

`c` > 0 is the curvature, a number or a 0-d tensor. Gradients flow through it. Formulas: Absil, Mahony and Sepulchre,
"Optimization algorithms on matrix manifolds" (2008), examples 5.4.1 and 8.1.1.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from geomdml import euclidean
from geomdml._core import checks
from geomdml._core.batches import over_batches
from geomdml._core.checks import Numbers, Scalar
from geomdml._core.exact import across, half_sine
from geomdml._core.numerics import curvature, direction, norm, result_dtype, result_form, unequal_entries, wide

__all__ = ["dist", "expmap", "geodesic", "logmap", "midpoint", "pairwise_dist", "project"]


def __dir__() -> list[str]:
    return __all__


def project(x: Float[Tensor, "*#batch D"], *, c: Scalar) -> Float[Tensor, "*#batch D"]:
    """The point x̂/√c, at the radius of the sphere.

    Args:
        x: (..., D) vectors, not 0.
        c: curvature, > 0.

    Returns:
        (..., D) points, at least float32.

    Raises:
        ValueError, TypeError: a vector 0, NaN, a dtype that is not real floating point, c ≤ 0.

    Source: the definition.

    >>> project(torch.tensor([3.0, 4.0]), c=0.25)
    tensor([1.2000, 1.6000])
    """
    c64 = checks.curved(c, x=x)
    return (_unit(x=x)[0] / c64.sqrt()).to(**result_form(x))


def dist(x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"], *, c: Scalar) -> Float[Tensor, "*#batch"]:
    """The way from x to y along the great circle, their angle over √c.

    Args:
        x, y: (..., D) vectors, not 0; leading dimensions broadcast.
        c: curvature, > 0.

    Returns:
        (...) distances, at least float32; 0 for vectors on one ray. The gradient is 0 there and between antipodes,
        where there is none.

    Raises:
        ValueError, TypeError: shapes that do not match, a vector 0, NaN, c ≤ 0.

    Source: 2 atan2(‖x̂ − ŷ‖, ‖x̂ + ŷ‖) (Kahan, "How futile are mindless assessments of roundoff", 2006), which is exact
    near both ends, where the arc cosine has lost its digits.

    >>> float(dist(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 2.0]), c=0.25))  # a quarter of 2π·2
    3.1415927410125732
    """
    c64 = checks.curved(c, x=x, y=y)
    _unit(x=x, y=y)
    return (_angle(wide(x), wide(y)) / c64.sqrt()).to(**result_form(x, y))


@over_batches
def pairwise_dist(
    x: Float[Tensor, "*#batch B D"], y: Float[Tensor, "*#batch P D"], *, c: Scalar
) -> Float[Tensor, "*#batch B P"]:
    """The `dist` of all pairs of two lists of vectors, in O(B·P) memory.

    Args: x, y, c: as for `dist`, but x and y are (..., B, D) and (..., P, D).

    Returns: (..., B, P) distances, at least float32; exactly 0 for equal vectors.

    Raises: ValueError, TypeError: as `dist`. Source: as `dist`.

    >>> pairwise_dist(torch.eye(2), torch.tensor([[5.0, 0.0]]), c=1.0)
    tensor([[0.0000],
            [1.5708]])
    """
    checks.rows(x=x, y=y)
    checks.positive(c=c)
    u, v = _unit(x=x, y=y)
    angle = 2 * torch.atan2(euclidean.pairwise_dist(u, v), euclidean.pairwise_dist(u, -v))
    if not checks.transformed(x, y):  # else no value can be asked for
        end = 1e-3 if result_dtype(x, y) == torch.float64 else 1e-6  # beside the rounding of u and v
        for i, j in unequal_entries((angle.detach() < end) | (angle.detach() > math.pi - end), x, y):
            angle = angle.index_put((i, j), _angle(wide(x[i]), wide(y[j])))
    return (angle / curvature(c, x).sqrt()).to(**result_form(x, y))


def expmap(x: Float[Tensor, "*#batch D"], v: Float[Tensor, "*#batch D"], *, c: Scalar) -> Float[Tensor, "*#batch D"]:
    """The point reached from x along the tangent vector v at x, after the way ‖v‖.

    Args:
        x, c: as for `dist`.
        v: (..., D) tangent vectors; of another vector what is at a right angle to x. Leading dimensions broadcast.

    Returns:
        (..., D) points, at least float32.

    Raises: ValueError, TypeError: as `dist`.

    Source: (cos(√c‖v‖) x̂ + sin(√c‖v‖) v̂)/√c.

    >>> expmap(torch.tensor([2.0, 0.0]), torch.tensor([0.0, torch.pi / 2]), c=1.0).round(decimals=6)
    tensor([-0., 1.])
    """
    c64 = checks.curved(c, x=x, v=v)
    checks.finite(v=v)
    (u,) = _unit(x=x)
    way = c64.sqrt() * _tangent(wide(x), wide(v))
    return (_walk(u, way) / c64.sqrt()).to(**result_form(x, v))


def logmap(x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"], *, c: Scalar) -> Float[Tensor, "*#batch D"]:
    """The tangent vector at x that leads to y: the inverse of `expmap`, as long as `dist`.

    Args: x, y, c: as for `dist`.

    Returns:
        (..., D) tangent vectors at x, at least float32; 0 where y is on the ray of x.

    Raises:
        ValueError, TypeError: as `dist`; antipodes, to which every way leads.

    Source: as `expmap`.

    >>> logmap(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0]), c=1.0)
    tensor([0.0000, 1.5708])
    """
    c64 = checks.curved(c, x=x, y=y)
    _unit(x=x, y=y)
    return (_log(wide(x), wide(y)) / c64.sqrt()).to(**result_form(x, y))


def geodesic(
    x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"], t: Numbers, *, c: Scalar
) -> Float[Tensor, "*#batch D"]:
    """The point at t·d(x, y) from x on the great circle through x, at t = 0, and y, at t = 1.

    Args:
        x, y, c: as for `dist`.
        t: a number, or (...) numbers that broadcast to the leading dimensions.

    Returns:
        (..., D) points, at least float32.

    Raises:
        ValueError, TypeError: as `logmap`; t not finite.

    Source: Shoemake, "Animating rotation with quaternion curves" (1985): slerp.

    >>> geodesic(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 0.5, c=1.0)
    tensor([0.7071, 0.7071])
    """
    c64 = checks.curved(c, x=x, y=y)
    checks.numbers(torch.broadcast_shapes(x.shape, y.shape)[:-1], t=t)
    u, _ = _unit(x=x, y=y)
    share = torch.as_tensor(t, dtype=torch.float64, device=u.device).unsqueeze(-1)
    return (_walk(u, share * _log(wide(x), wide(y))) / c64.sqrt()).to(**result_form(x, y))


def midpoint(
    x: Float[Tensor, "*#batch N D"], weights: Float[Tensor, "*#batch N"] | None = None, *, c: Scalar
) -> Float[Tensor, "*#batch D"]:
    """The centroid of N points: the direction of their weighted sum.

    Args:
        x: (..., N, D) vectors, not 0.
        weights: (..., N), not below 0, their sums above 0; equal by default. Leading dimensions broadcast.
        c: curvature, > 0.

    Returns:
        (..., D) points, at least float32. Where points cancel, the error is 1e-15 over the length of their mean.

    Raises:
        ValueError, TypeError: as `dist`; weights that cannot be, points whose sum is 0.

    Source: Mardia and Jupp, "Directional statistics" (2000), section 9.2: the mean direction.

    >>> midpoint(torch.eye(2), torch.tensor([1.0, 1.0]), c=1.0)
    tensor([0.7071, 0.7071])
    """
    c64 = checks.curved(c, x=x)
    given = wide(checks.weights(weights, x=x))
    (units,) = _unit(x=x)
    total = ((given / given.sum(-1, keepdim=True)).unsqueeze(-1) * units).sum(-2)
    if checks.values_are_checked(total) and not bool((total != 0).any(-1).all()):
        raise ValueError("x has points whose weighted sum is 0; expected points that have a mean direction")
    return (direction(total)[0] / c64.sqrt()).to(**result_form(x))


def _unit(**vectors: Tensor) -> list[Tensor]:
    """Unit vectors in float64; refuses 0, by name, where values are checked."""
    checks.finite(**vectors)
    for name, x in vectors.items():
        if checks.values_are_checked(x) and not bool((x != 0).any(-1).all()):
            raise ValueError(f"{name} has vectors that are 0; expected vectors with a direction")
    return [direction(wide(x))[0] for x in vectors.values()]


def _angle(x: Tensor, y: Tensor) -> Tensor:
    sine, cosine = half_sine(x, y), half_sine(x, -y)
    angle = 2 * torch.atan2(sine, cosine)
    at_an_end = (sine.detach() == 0) | (cosine.detach() == 0)  # the slope there would be that of a rounding
    return torch.where(at_an_end, angle.detach(), angle)


def _tangent(x: Tensor, v: Tensor) -> Tensor:
    """The part of v at a right angle to x, with all its digits."""
    x_hat, _ = direction(x)
    aside = v - (x_hat * v).sum(-1, keepdim=True) * x_hat
    return aside + (across(x, v) - aside).detach()


def _walk(u: Tensor, way: Tensor) -> Tensor:
    """From u along a tangent vector, on the unit sphere."""
    length = norm(way)
    there = length > 0
    safe = torch.where(there, length, 1.0)
    return torch.cos(length) * u + torch.where(there, torch.sin(safe) / safe, 1.0) * way


def _log(x: Tensor, y: Tensor) -> Tensor:
    """The angle, along the direction of what of y is at a right angle to x."""
    aside, length = direction(_tangent(x, y))
    if checks.values_are_checked(x, y) and bool(((length == 0) & ((x * y).sum(-1, keepdim=True) < 0)).any()):
        raise ValueError("y is at the antipode of x; expected points with one shortest way")
    return _angle(x, y).unsqueeze(-1) * aside
