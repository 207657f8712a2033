"""The Poincaré ball {x : c‖x‖² < 1} of curvature −c, and the gyrovector operations on it.

The functions compute the exact value of the floats they are given, up to the last float inside the ball. Digits get
lost in two places only, 1 − c‖x‖² near the boundary and ‖x − y‖ between near-duplicates; `geomdml.numerics` keeps them.
To train, keep points by their tangent vectors instead (`geomdml.tangent`): the ball has no floats far from its centre.

`c` > 0 is the absolute curvature: a number, or a 0-d tensor through which gradients flow. Formulas: Ganea, Bécigneul
and Hofmann, "Hyperbolic neural networks" (2018), section 2.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from geomdml import checks, pairs
from geomdml.autograd import Differentiable
from geomdml.numerics import (
    boundary_gap,
    curvature,
    norm,
    result_dtype,
    tanh_ratio,
    wide,
)

Scalar = float | Float[Tensor, ""]


def conformal_factor(x: Float[Tensor, "*#batch D"], *, c: Scalar) -> Float[Tensor, "*#batch"]:
    """λ_x = 2/(1 − c‖x‖²), the ratio of hyperbolic to Euclidean length at x.

    Args:
        x: (..., D) points inside the ball.
        c: absolute curvature, > 0.

    Raises:
        ValueError, TypeError: a point outside the ball, a dtype that is not real floating point, c ≤ 0.

    >>> float(conformal_factor(torch.tensor([0.6, 0.0], dtype=torch.float64), c=1.0))
    3.125
    """
    checks.vectors(x=x)
    checks.positive(c=c)
    gap = _gap("x", wide(x), curvature(c, x))
    return (2 / gap).squeeze(-1).to(result_dtype(x))


def project(x: Float[Tensor, "*#batch D"], *, c: Scalar) -> Float[Tensor, "*#batch D"]:
    """The nearest point of the ball: x itself if it lies inside, else x pulled back to the last floats inside.

    Args:
        x: (..., D) vectors.
        c: absolute curvature, > 0.

    Returns:
        (..., D) points with c‖x‖² < 1, at least float32.

    >>> project(torch.tensor([[0.5, 0.0], [3.0, 4.0]]), c=1.0)
    tensor([[0.5000, 0.0000],
            [0.6000, 0.8000]])
    """
    checks.vectors(x=x)
    checks.positive(c=c)
    checks.finite(x=x)
    c64, x64 = curvature(c, x), wide(x)
    length = c64.sqrt() * norm(x64)
    outside = boundary_gap(x64.detach(), c64.detach()) <= 0
    onto_boundary = x64 / torch.where(outside, length, 1.0)
    return _rounded_inside(torch.where(outside, onto_boundary, x64), c64, result_dtype(x))


def expmap0(v: Float[Tensor, "*#batch D"], *, c: Scalar) -> Float[Tensor, "*#batch D"]:
    """exp_0(v) = tanh(√c‖v‖) v/(√c‖v‖): the point reached from the origin along v; its distance from there is 2‖v‖.

    Args:
        v: (..., D) tangent vectors at the origin.
        c: absolute curvature, > 0.

    Returns:
        (..., D) points of the ball, at least float32; far out, the last floats inside the ball.

    Source: CHEST (arXiv 2510.05643) equation (4).

    >>> expmap0(torch.tensor([0.5, 0.0]), c=1.0)
    tensor([0.4621, 0.0000])
    """
    checks.vectors(v=v)
    checks.positive(c=c)
    checks.finite(v=v)
    c64, v64 = curvature(c, v), wide(v)
    return _rounded_inside(tanh_ratio(c64.sqrt() * norm(v64)) * v64, c64, result_dtype(v))


def logmap0(y: Float[Tensor, "*#batch D"], *, c: Scalar) -> Float[Tensor, "*#batch D"]:
    """log_0(y) = artanh(√c‖y‖) y/(√c‖y‖), the inverse of `expmap0`.

    Args:
        y: (..., D) points inside the ball.
        c: absolute curvature, > 0.

    Returns:
        (..., D) tangent vectors at the origin, at least float32.

    Raises:
        ValueError: a point outside the ball.

    >>> logmap0(torch.tensor([0.4621, 0.0000]), c=1.0)
    tensor([0.5000, 0.0000])
    """
    checks.vectors(y=y)
    checks.positive(c=c)
    c64, y64 = curvature(c, y), wide(y)
    z = c64.sqrt() * norm(y64)
    nonzero = z > 0
    safe = torch.where(nonzero, z, 1.0)
    ratio = torch.where(nonzero, _artanh(safe, torch.where(nonzero, _gap("y", y64, c64), 1.0)) / safe, 1.0)
    return (ratio * y64).to(result_dtype(y))


def mobius_add(
    x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"], *, c: Scalar
) -> Float[Tensor, "*#batch D"]:
    """Möbius addition x ⊕ y: the point y carried along by the translation that takes the origin to x.

    Args:
        x, y: (..., D) points inside the ball; leading dimensions broadcast.
        c: absolute curvature, > 0.

    Returns:
        (..., D) points of the ball, at least float32.

    Raises:
        ValueError, TypeError: shapes that do not match, a point outside the ball, c ≤ 0.

    Source: CHEST (arXiv 2510.05643) equation (1), rewritten with w = x + y as
    ((1 − c‖x‖²) w + c‖w‖² x)/(c‖w‖² + (1 − c‖x‖²)(1 − c‖y‖²)): the printed form loses every digit where x and y nearly
    cancel at the boundary.

    >>> x = torch.tensor([0.3, 0.4])
    >>> mobius_add(-x, x, c=1.0)
    tensor([0., 0.])
    """
    checks.vectors(x=x, y=y)
    checks.positive(c=c)
    c64, x64, y64 = curvature(c, x), wide(x), wide(y)
    gap_x, gap_y = _gap("x", x64, c64), _gap("y", y64, c64)
    w = x64 + y64
    square_w = c64 * (w * w).sum(-1, keepdim=True)
    return _rounded_inside((gap_x * w + square_w * x64) / (square_w + gap_x * gap_y), c64, result_dtype(x, y))


def dist0(x: Float[Tensor, "*#batch D"], *, c: Scalar) -> Float[Tensor, "*#batch"]:
    """Distance from the origin, (2/√c) artanh(√c‖x‖).

    Args:
        x: (..., D) points inside the ball.
        c: absolute curvature, > 0.

    Raises:
        ValueError: a point outside the ball.

    >>> dist0(expmap0(torch.tensor([3.0, 4.0]), c=0.01), c=0.01)
    tensor(10.)
    """
    checks.vectors(x=x)
    checks.positive(c=c)
    c64, x64 = curvature(c, x), wide(x)
    artanh = _artanh(c64.sqrt() * norm(x64), _gap("x", x64, c64))
    return (2 * artanh / c64.sqrt()).squeeze(-1).to(result_dtype(x))


def dist(x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"], *, c: Scalar) -> Float[Tensor, "*#batch"]:
    """Hyperbolic distance (2/√c) asinh(√c‖x − y‖/√((1 − c‖x‖²)(1 − c‖y‖²))).

    Args:
        x, y: (..., D) points inside the ball; leading dimensions broadcast.
        c: absolute curvature, > 0.

    Returns:
        (...) distances, at least float32; equal points are at exactly 0 and the gradient there is 0. As c → 0 the
        distance tends to 2‖x − y‖.

    Raises:
        ValueError, TypeError: shapes that do not match, a point outside the ball (`project` is the remedy), c ≤ 0.

    Source: CHEST (arXiv 2510.05643) equation (2), in the asinh form, which needs no clamp.

    >>> x = torch.tensor([0.3, 0.4])
    >>> dist(x, torch.zeros(2), c=1.0)  # 2 artanh(1/2)
    tensor(1.0986)
    """
    checks.vectors(x=x, y=y)
    checks.positive(c=c)
    inside(c, x=x, y=y)
    dtype, c64 = result_dtype(x, y), curvature(c, x)
    x, y = torch.broadcast_tensors(wide(x), wide(y))
    return Differentiable.apply(_value, _gradient, x, y, c64).to(dtype)


def pairwise_dist(x: Float[Tensor, "B D"], y: Float[Tensor, "P D"], *, c: Scalar) -> Float[Tensor, "B P"]:
    """All hyperbolic distances between two lists of points, in O(B·P) memory.

    Args:
        x, y: (B, D) and (P, D) points inside the ball.
        c: absolute curvature, > 0.

    Returns:
        (B, P) distances, at least float32.

    Raises:
        ValueError, TypeError: as `dist`.

    Source: as `dist`.

    >>> x = torch.tensor([[0.5, 0.0], [0.0, 0.5]])
    >>> pairwise_dist(x, x, c=0.5).diagonal()
    tensor([0., 0.])
    """
    checks.pairs(x=x, y=y)
    checks.positive(c=c)
    inside(c, x=x, y=y)
    return _all_distances(x, y, curvature(c, x))


def inside(c: Scalar, **points: Tensor) -> None:
    """Refuse, by name, points that are not inside the ball, where values are checked."""
    for name, x in points.items():
        c64 = curvature(c, x).detach()
        if not checks.values_are_checked(x, c64):
            continue
        x = x.detach()
        clearly = c64 * torch.linalg.vector_norm(wide(x), dim=-1) ** 2 < 1 - 1e-9
        if not bool(clearly.all()):
            _refuse_outside(name, boundary_gap(wide(x), c64))


def _refuse_outside(name: str, gap: Tensor) -> None:
    if not bool((gap > 0).all()):
        worst = float((1 - gap.nan_to_num(nan=float("-inf"))).max().sqrt())
        raise ValueError(
            f"{name} has {int((~(gap > 0)).sum())} points outside the ball c‖x‖² < 1 (largest √c‖x‖ = {worst:.9g}); "
            "geomdml.poincare.project brings points inside"
        )


def _gap(name: str, x: Tensor, c: Tensor) -> Tensor:
    """1 − c‖x‖², kept; refuses a point that is not inside the ball, where values are checked."""
    gap = boundary_gap(x, c)
    if checks.values_are_checked(x, c):
        _refuse_outside(name, gap.detach())
    return gap


def _artanh(z: Tensor, gap: Tensor) -> Tensor:
    """artanh z with gap = 1 − z²: near 1 as log(1 + z) − log(gap)/2, whose digits the gap still has."""
    near = z < 0.5
    inner = torch.atanh(torch.where(near, z, 0.0))
    outer = torch.log1p(z) - torch.log(torch.where(near, 1.0, gap)) / 2
    return torch.where(near, inner, outer)


def _rounded_inside(x: Tensor, c: Tensor, dtype: torch.dtype) -> Tensor:
    """x, of the closed ball, in its final dtype; where that falls outside, the last floats inside.

    That is a rounding, and like any rounding it leaves the gradient alone.
    """
    with torch.no_grad():
        rounded = x.to(dtype)
        inside = boundary_gap(wide(rounded), c) > 0
        # The norm of a float32 vector is exact here; that of a float64 vector has rounding errors of its own.
        margin = torch.finfo(dtype).eps * (1 if dtype == torch.float32 else 4)
        length = torch.where(inside, 1.0, c.sqrt() * norm(x))
        shift = torch.where(inside, rounded, (x * ((1 - margin) / length)).to(dtype)) - x
    return (x + shift).to(dtype)


def _value(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
    """Distances one to one, of float64 points."""
    return 2 * torch.asinh(_sinh_half(x, y, c)[0]) / c.sqrt()


def _sinh_half(x: Tensor, y: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """√c‖x − y‖/√((1 − c‖x‖²)(1 − c‖y‖²)), and the two gaps, kept."""
    gap_x, gap_y = boundary_gap(x, c), boundary_gap(y, c)
    square = ((x - y) ** 2).sum(-1, keepdim=True)
    return (c * square / gap_x / gap_y).sqrt().squeeze(-1), gap_x, gap_y


def _gradient(grad: Tensor, x: Tensor, y: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of `_value`, in closed form: finite where the formula's own derivative is not."""
    z, gap_x, gap_y = _sinh_half(x, y, c)
    slope = z / torch.sqrt(1 + z * z)
    by_log_z = (2 * grad * slope / c.sqrt()).unsqueeze(-1)
    square = ((x - y) ** 2).sum(-1, keepdim=True)
    apart = torch.where(square > 0, by_log_z / torch.where(square > 0, square, 1.0), 0.0) * (x - y)  # 0 at duplicates
    by_x, by_y = apart + by_log_z * c * x / gap_x, by_log_z * c * y / gap_y - apart
    # ∂d/∂c at fixed gaps: z/√(1+z²) − asinh z, which cancels for small z and is −z³/3 + 3z⁵/10 there.
    bend = torch.where(z < 1e-3, z**3 * (-1 / 3 + 0.3 * z * z), slope - torch.asinh(z))
    spread = ((x * x).sum(-1, keepdim=True) / gap_x + (y * y).sum(-1, keepdim=True) / gap_y) / 2
    return by_x, by_y, (grad * bend).sum() / c**1.5 + (by_log_z * spread).sum()


def _rows(x: Tensor, c: Tensor) -> pairs.Rows:
    gap = boundary_gap(wide(x), c, squares_fit=x.dtype != torch.float64)
    unit, length = pairs.polar(x)
    stretch = 2 * c.sqrt() / gap
    A = 2 * _artanh(c.sqrt() * length, gap)
    return pairs.Rows(unit, length, A, stretch, growth=stretch * length)


_all_distances = pairs.operator("ball", pairs.Chart(_rows, _value, _gradient))
