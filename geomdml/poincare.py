"""The Poincaré ball {x : c‖x‖² < 1} of curvature −c, and the gyrovector operations on it.

The functions compute the exact value of the floats they are given, up to the last float inside the ball. Digits get
lost in two places only, 1 − c‖x‖² near the boundary and ‖x − y‖ between near-duplicates;
`geomdml._core.numerics` keeps them.
To train, keep points by their tangent vectors instead (`geomdml.tangent`): the ball has no floats far from its centre.

`c` > 0 is the absolute curvature: a number, a 0-d tensor, or a tensor (..., 1) that broadcasts to the points, such as
one for each head. Gradients flow through it. Formulas: Ganea, Bécigneul and Hofmann, "Hyperbolic neural networks"
(2018), section 2.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from geomdml._core import all_pairs as pairs
from geomdml._core import checks, formulas, one_to_one
from geomdml._core.autograd import differentiable
from geomdml._core.batches import over_batches
from geomdml._core.checks import Numbers, Scalar
from geomdml._core.curvatures import Curvature, for_each_curvature
from geomdml._core.exact import across, boundary_gap, round_inside
from geomdml._core.numerics import curvature, direction, norm, result_form, wide
from geomdml._core.series import asinh_ratio, asinh_ratio_of_square, even, ratio, sinh_ratio_of_square, tanh_ratio

__all__ = [
    "conformal_factor",
    "dist",
    "dist0",
    "expmap",
    "expmap0",
    "geodesic",
    "gyration",
    "inside",
    "logmap",
    "logmap0",
    "midpoint",
    "mobius_add",
    "mobius_matvec",
    "mobius_scalar_mul",
    "pairwise_dist",
    "parallel_transport",
    "project",
]


def __dir__() -> list[str]:
    return __all__


_LONGEST_STEP = 100.0  # √c times half a distance: from any float inside, such a step ends at the boundary


@for_each_curvature("numbers", degree=0)
def conformal_factor(x: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch"]:
    """λ_x = 2/(1 − c‖x‖²), the ratio of hyperbolic to Euclidean length at x.

    Args:
        x: (..., D) points inside the ball.
        c: absolute curvature, > 0.

    Returns:
        (...) factors, at least float32.

    Raises:
        ValueError, TypeError: a point outside the ball, a dtype that is not real floating point, c ≤ 0.

    Source: Ganea et al. (2018) section 2.

    >>> float(conformal_factor(torch.tensor([0.6, 0.0], dtype=torch.float64), c=1.0))
    3.125
    """
    c64 = checks.curved(c, x=x)
    gap = _gap("x", wide(x), c64)
    return (2 / gap).squeeze(-1).to(**result_form(x))


@for_each_curvature("points of the ball")
def project(x: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch D"]:
    """The nearest point of the ball: x itself if it lies inside, else x pulled back to the last floats inside.

    Args:
        x: (..., D) vectors.
        c: absolute curvature, > 0.

    Returns:
        (..., D) points with c‖x‖² < 1, at least float32.

    Raises:
        ValueError, TypeError: NaN or infinity, a dtype that is not real floating point, c ≤ 0.

    Source: the definition; a point that is pulled back is rounded towards the origin.

    >>> project(torch.tensor([[0.5, 0.0], [3.0, 4.0]]), c=1.0)
    tensor([[0.5000, 0.0000],
            [0.6000, 0.8000]])
    """
    c64 = checks.curved(c, x=x)
    checks.finite(x=x)
    x64 = wide(x)
    length = c64.sqrt() * norm(x64)
    outside = boundary_gap(x64.detach(), c64.detach()) <= 0
    onto_boundary = x64 / torch.where(outside, length, 1.0)
    return round_inside(torch.where(outside, onto_boundary, x64), c64, result_form(x))


@for_each_curvature("points of the ball")
def expmap0(v: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch D"]:
    """exp_0(v) = tanh(√c‖v‖) v/(√c‖v‖): the point reached from the origin along v; its distance from there is 2‖v‖.

    Args:
        v: (..., D) tangent vectors at the origin.
        c: absolute curvature, > 0.

    Returns:
        (..., D) points of the ball, at least float32; far out, the last floats inside the ball.

    Raises:
        ValueError, TypeError: NaN or infinity, a dtype that is not real floating point, c ≤ 0.

    Source: CHEST (arXiv 2510.05643) equation (4).

    >>> expmap0(torch.tensor([0.5, 0.0]), c=1.0)
    tensor([0.4621, 0.0000])
    """
    c64 = checks.curved(c, v=v)
    checks.finite(v=v)
    return round_inside(_exp0(wide(v), c64), c64, result_form(v))


@for_each_curvature("vectors")
def logmap0(y: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch D"]:
    """log_0(y) = artanh(√c‖y‖) y/(√c‖y‖), the inverse of `expmap0`.

    Args:
        y: (..., D) points inside the ball.
        c: absolute curvature, > 0.

    Returns:
        (..., D) tangent vectors at the origin, at least float32.

    Raises:
        ValueError, TypeError: a point outside the ball, a dtype that is not real floating point, c ≤ 0.

    Source: Ganea et al. (2018) section 2.4.

    >>> logmap0(torch.tensor([0.4621, 0.0000]), c=1.0)
    tensor([0.5000, 0.0000])
    """
    c64 = checks.curved(c, y=y)
    y64 = wide(y)
    return _log0(y64, _gap("y", y64, c64), c64).to(**result_form(y))


@for_each_curvature("points of the ball")
def expmap(x: Float[Tensor, "*#batch D"], v: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch D"]:
    """exp_x(v) = x ⊕ tanh(√c λ_x‖v‖/2) v/(√c‖v‖): the point reached from x along v; its distance from x is λ_x‖v‖.

    Args:
        x: (..., D) points inside the ball.
        v: (..., D) tangent vectors at x; leading dimensions broadcast.
        c: absolute curvature, > 0.

    Returns:
        (..., D) points of the ball, at least float32; far out, the last floats inside the ball. Where v leads
        back to the origin, x and the way along v cancel: the error there is 1e-14 ‖x‖.
        Gradients in float32 are held to 1e-5 for points up to the norm tanh(2.5)/√c = 0.987/√c, and to nothing farther
        out, where they vanish. In `geomdml.tangent` they are held farther out.

    Raises:
        ValueError, TypeError: shapes that do not match, a point outside the ball, NaN or infinity, c ≤ 0.

    Source: CHEST (arXiv 2510.05643) equation (3), with the direction outside the tanh.

    >>> expmap(torch.tensor([0.5, 0.0]), torch.tensor([-0.5, 0.0]), c=1.0)
    tensor([-0.1168,  0.0000])
    """
    c64 = checks.curved(c, x=x, v=v)
    checks.finite(v=v)
    form, x, v = result_form(x, v), wide(x), wide(v)
    return round_inside(_exp(x, v, across(x, v), _gap("x", x, c64), c64), c64, form)


@for_each_curvature("vectors")
def logmap(x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch D"]:
    """log_x(y), the tangent vector at x that leads to y: the inverse of `expmap`, of length λ_x‖·‖ = d(x, y).

    Args:
        x, y: (..., D) points inside the ball; leading dimensions broadcast.
        c: absolute curvature, > 0.

    Returns:
        (..., D) tangent vectors at x, at least float32; exactly 0 where y = x.

    Raises:
        ValueError, TypeError: shapes that do not match, a point outside the ball, c ≤ 0.

    Source: 2/(√c λ_x) artanh(√c‖z‖) z/‖z‖ with z = −x ⊕ y (Ganea et al. 2018, lemma 2), rewritten with w = y − x and
    sinh(√c d/2) = √c‖w‖/√((1 − c‖x‖²)(1 − c‖y‖²)): no artanh, and no digits lost between near-duplicates.

    >>> logmap(torch.tensor([0.5, 0.0]), torch.tensor([-0.5, 0.0]), c=1.0)  # (1 − ‖x‖²) d/2, d = 4 artanh(1/2)
    tensor([-0.8240,  0.0000])
    """
    c64 = checks.curved(c, x=x, y=y)
    form, x, y = result_form(x, y), wide(x), wide(y)
    scale, step = _log(x, y, _gap("x", x, c64), _gap("y", y, c64), c64)
    return (scale * step).to(**form)


@for_each_curvature("points of the ball")
def mobius_add(
    x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"], *, c: Curvature
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
    c64 = checks.curved(c, x=x, y=y)
    x64, y64 = wide(x), wide(y)
    gap_x, gap_y = _gap("x", x64, c64), _gap("y", y64, c64)
    w = x64 + y64
    square_w = c64 * (w * w).sum(-1, keepdim=True)
    return round_inside((gap_x * w + square_w * x64) / (square_w + gap_x * gap_y), c64, result_form(x, y))


@for_each_curvature("points of the ball")
def mobius_scalar_mul(r: Numbers, x: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch D"]:
    """Möbius scalar multiple r ⊗ x = exp_0(r log_0 x): the point r times as far from the origin, on the line of x.

    Args:
        r: a number, or (...) numbers that broadcast to the leading dimensions of x.
        x: (..., D) points inside the ball.
        c: absolute curvature, > 0.

    Returns:
        (..., D) points of the ball, at least float32; far out, the last floats inside the ball.
        Gradients in float32 are held to 1e-5 for points up to the norm tanh(2.5)/√c = 0.987/√c, and to nothing farther
        out, where they vanish. In `geomdml.tangent` they are held farther out.

    Raises:
        ValueError, TypeError: shapes that do not match, a point outside the ball, r not finite, c ≤ 0.

    Source: Ganea et al. (2018) section 2.

    >>> mobius_scalar_mul(2, torch.tensor([0.5, 0.0]), c=1.0)  # tanh(2 artanh(1/2))
    tensor([0.8000, 0.0000])
    """
    c64 = checks.curved(c, x=x)
    checks.numbers(x.shape[:-1], r=r)
    x64 = wide(x)
    log = _log0(x64, _gap("x", x64, c64), c64)
    return round_inside(_exp0(_column(r, x64) * log, c64), c64, result_form(x))


@for_each_curvature("points of the ball")
def mobius_matvec(
    M: Float[Tensor, "E D"], x: Float[Tensor, "*#batch D"], *, c: Curvature
) -> Float[Tensor, "*#batch E"]:
    """Möbius matrix product M ⊗ x = exp_0(M log_0 x).

    Args:
        M: (E, D) matrix.
        x: (..., D) points inside the ball.
        c: absolute curvature, > 0.

    Returns:
        (..., E) points of the ball, at least float32; far out, the last floats inside the ball. As exact as the
        product M x is in float64.
        Gradients in float32 are held to 1e-5 for points up to the norm tanh(2.5)/√c = 0.987/√c, and to nothing farther
        out, where they vanish. In `geomdml.tangent` they are held farther out.

    Raises:
        ValueError, TypeError: shapes that do not match, a point outside the ball, M not finite, c ≤ 0.

    Source: Ganea et al. (2018) lemma 6.

    >>> mobius_matvec(torch.tensor([[0.0, 2.0], [2.0, 0.0]]), torch.tensor([0.5, 0.0]), c=1.0)
    tensor([0.0000, 0.8000])
    """
    checks.rows(M=M)
    c64 = checks.curved(c, x=x)
    checks.same_length(M=M, x=x)
    checks.finite(M=M)
    x64 = wide(x)
    log = _log0(x64, _gap("x", x64, c64), c64)
    return round_inside(_exp0(log @ wide(M).T, c64), c64, result_form(M, x))


@for_each_curvature("vectors")
def gyration(
    x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"], v: Float[Tensor, "*#batch D"], *, c: Curvature
) -> Float[Tensor, "*#batch D"]:
    """gyr[x, y]v = −(x ⊕ y) ⊕ (x ⊕ (y ⊕ v)): the rotation by which Möbius addition fails to be associative.

    Args:
        x, y: (..., D) points inside the ball.
        v: (..., D) vectors, of any length: the rotation is linear. Leading dimensions broadcast.
        c: absolute curvature, > 0.

    Returns:
        (..., D) vectors as long as v, at least float32.

    Raises:
        ValueError, TypeError: shapes that do not match, a point outside the ball, NaN or infinity, c ≤ 0.

    Source: Ungar, "A gyrovector space approach to hyperbolic geometry" (2009), chapter 1, rewritten as a rotation
    in the plane of x and y; see `_gyrate`.

    >>> x, y = torch.tensor([0.5, 0.0]), torch.tensor([0.0, 0.5])
    >>> gyration(x, y, torch.tensor([17.0, 0.0]), c=1.0)
    tensor([15., -8.])
    """
    c64 = checks.curved(c, x=x, y=y, v=v)
    checks.finite(v=v)
    form, x, y = result_form(x, y, v), wide(x), wide(y)
    return _gyrate(x, y, _gap("x", x, c64), _gap("y", y, c64), wide(v), c64).to(**form)


@for_each_curvature("vectors")
def parallel_transport(
    x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"], v: Float[Tensor, "*#batch D"], *, c: Curvature
) -> Float[Tensor, "*#batch D"]:
    """P_{x→y}(v) = (λ_x/λ_y) gyr[y, −x]v: the tangent vector v at x carried to y along the geodesic between them.

    Args:
        x, y: (..., D) points inside the ball.
        v: (..., D) tangent vectors at x; leading dimensions broadcast.
        c: absolute curvature, > 0.

    Returns:
        (..., D) tangent vectors at y, of the Riemannian length of v, at least float32.

    Raises:
        ValueError, TypeError: shapes that do not match, a point outside the ball, NaN or infinity, c ≤ 0.

    Source: Ganea et al. (2018) theorem 4, at any base point.

    >>> parallel_transport(torch.zeros(2), torch.tensor([0.5, 0.0]), torch.tensor([0.0, 1.0]), c=1.0)
    tensor([0.0000, 0.7500])
    """
    c64 = checks.curved(c, x=x, y=y, v=v)
    checks.finite(v=v)
    form, x, y = result_form(x, y, v), wide(x), wide(y)
    gap_x, gap_y = _gap("x", x, c64), _gap("y", y, c64)
    return (gap_y / gap_x * _gyrate(y, -x, gap_y, gap_x, wide(v), c64)).to(**form)


@for_each_curvature("points of the ball")
def geodesic(
    x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"], t: Numbers, *, c: Curvature
) -> Float[Tensor, "*#batch D"]:
    """γ(t) = x ⊕ (t ⊗ (−x ⊕ y)): the point at t·d(x, y) from x on the geodesic through x, at t = 0, and y, at t = 1.

    Args:
        x, y: (..., D) points inside the ball; leading dimensions broadcast.
        t: a number, or (...) numbers that broadcast to the leading dimensions.
        c: absolute curvature, > 0.

    Returns:
        (..., D) points of the ball, at least float32; far out, the last floats inside the ball. Exactly x and
        y, but for rounding, at t = 0 and 1; where the geodesic passes the origin, the error is 1e-14 of ‖x‖ or ‖y‖.
        Gradients in float32 are held to 1e-5 for points up to the norm tanh(2.5)/√c = 0.987/√c, and to nothing farther
        out, where they vanish. In `geomdml.tangent` they are held farther out.

    Raises:
        ValueError, TypeError: shapes that do not match, a point outside the ball, t not finite, c ≤ 0.

    Source: Ganea et al. (2018) section 2.4. Between x and y it is computed as the sum of both points in the Lorentz
    model with the weights sinh((1 − t)δ)/sinh δ and sinh(tδ)/sinh δ, δ = √c d(x, y), which fall short of 1 by
    2 sinh((1 − t)δ/2) sinh(tδ/2)/cosh(δ/2): no digits are lost between near-duplicates.

    >>> geodesic(torch.tensor([0.5, 0.0]), torch.tensor([-0.5, 0.0]), torch.tensor([0.0, 0.5, 1.0]), c=1.0)
    tensor([[ 0.5000,  0.0000],
            [ 0.0000,  0.0000],
            [-0.5000,  0.0000]])
    """
    c64 = checks.curved(c, x=x, y=y)
    checks.numbers(torch.broadcast_shapes(x.shape, y.shape)[:-1], t=t)
    form = result_form(x, y)
    x, y, t = wide(x), wide(y), _column(t, x)
    gap_x, gap_y = _gap("x", x, c64), _gap("y", y, c64)
    beyond = (t < 0) | (t > 1)
    share = torch.where(beyond, 0.5, t)
    square = c64 * ((x - y) ** 2).sum(-1, keepdim=True) / (gap_x * gap_y)  # sinh²(δ/2)
    quarter = square * asinh_ratio_of_square(square) ** 2  # (δ/2)²
    # From the nearer end; beyond the ends the weights would have both signs, and the log and exp maps take over.
    x, y, gap_x, gap_y, t, share = (
        torch.where(t < 0.5, a, b)
        for a, b in ((x, y), (y, x), (gap_x, gap_y), (gap_y, gap_x), (t, 1 - t), (share, 1 - share))
    )
    to_x, to_y = (s * sinh_ratio_of_square(s**2 * quarter) for s in (1 - share, share))  # sinh(s δ/2)/(δ/2)
    u_x, u_y = (
        s * sinh_ratio_of_square(4 * s**2 * quarter) / sinh_ratio_of_square(4 * quarter) / gap
        for s, gap in ((1 - share, gap_x), (share, gap_y))
    )
    rest = to_x * to_y * quarter / (1 + square).sqrt()
    between = x + (u_y * (y - x) - rest * x) / (u_x + u_y + rest)
    scale, step = _log(x, y, gap_x, gap_y, c64)
    onward = _exp(x, t * scale * step, t * scale * gap_x * across(x, y), gap_x, c64)
    return round_inside(torch.where(beyond, onward, between), c64, form)


@for_each_curvature("points of the ball", of_lists=True)
def midpoint(
    x: Float[Tensor, "*#batch N D"], weights: Float[Tensor, "*#batch N"] | None = None, *, c: Curvature
) -> Float[Tensor, "*#batch D"]:
    """Einstein midpoint of N points: in the Klein model their mean, weighted with their Lorentz factors.

    Args:
        x: (..., N, D) points inside the ball.
        weights: (..., N), not below 0, their sums above 0; equal by default. Leading dimensions broadcast.
        c: absolute curvature, > 0; of several, (..., 1, 1).

    Returns:
        (..., D) points of the ball, at least float32. Where points cancel, the error is 1e-14 of the longest of them.

    Raises:
        ValueError, TypeError: shapes that do not match, a point outside the ball, weights that cannot be, c ≤ 0.

    Source: Ungar, "A gyrovector space approach to hyperbolic geometry" (2009), chapter 3; the same as the centroid of
    the Lorentz model. With u = w/(1 − c‖x‖²) and the mean m of the points under u, it is m·2U/(2U − 1 + √(1 + 4UV)),
    U = Σ u and V = Σ u c‖x − m‖² for weights that sum to 1: nothing cancels on the way to the Klein model and back.

    >>> midpoint(torch.tensor([[0.5, 0.0], [0.5, 0.0], [-0.5, 0.0]]), torch.tensor([1.0, 0.0, 1.0]), c=1.0)
    tensor([0., 0.])
    """
    c64 = checks.curved(c, x=x)
    x64, w = wide(x), wide(checks.weights(weights, x=x))
    u = (w / w.sum(-1, keepdim=True)).unsqueeze(-1) / _gap("x", x64, c64)
    U = u.sum(-2)
    mean = (u * x64).sum(-2) / U
    V = c64 * (u * (x64 - mean.unsqueeze(-2)) ** 2).sum((-2, -1)).unsqueeze(-1)
    return round_inside(mean * 2 * U / (2 * U - 1 + torch.sqrt(1 + 4 * U * V)), c64, result_form(x))


@for_each_curvature("numbers")
def dist0(x: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch"]:
    """Distance from the origin, (2/√c) artanh(√c‖x‖).

    Args: x, c: as for `dist`.

    Returns: (...) distances, at least float32.

    Raises: ValueError, TypeError: as `dist`.

    Source: CHEST (arXiv 2510.05643) equation (2) at x = 0.

    >>> dist0(expmap0(torch.tensor([3.0, 4.0]), c=0.01), c=0.01)
    tensor(10.)
    """
    c64 = checks.curved(c, x=x)
    x64 = wide(x)
    artanh = _artanh(c64.sqrt() * norm(x64), _gap("x", x64, c64))
    return (2 * artanh / c64.sqrt()).squeeze(-1).to(**result_form(x))


@for_each_curvature("numbers")
def dist(x: Float[Tensor, "*#batch D"], y: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch"]:
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
    c64 = checks.curved(c, x=x, y=y)
    inside(c, x=x, y=y)
    return _one_to_one(x, y, c64)


@for_each_curvature("pairs")
@over_batches
def pairwise_dist(
    x: Float[Tensor, "*#batch B D"], y: Float[Tensor, "*#batch P D"], *, c: Curvature
) -> Float[Tensor, "*#batch B P"]:
    """The `dist` of all pairs of two lists of points, in O(B·P) memory.

    Args: x, y, c: as for `dist`, but x and y are (..., B, D) and (..., P, D).

    Returns: (..., B, P) distances, at least float32.

    Raises: ValueError, TypeError: as `dist`. Source: as `dist`.

    >>> x = torch.tensor([[0.5, 0.0], [0.0, 0.5]])
    >>> pairwise_dist(x, x, c=0.5).diagonal()
    tensor([0., 0.])
    """
    checks.rows(x=x, y=y)
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
        squares = torch.linalg.vector_norm(x, dim=-1, dtype=torch.promote_types(x.dtype, torch.float32)) ** 2
        if not bool((c64 * squares < 0.99).all()):  # else they are inside, whatever the rounding
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
    """artanh z = log1p(2z/(1 − z))/2 with 1 − z = gap/(1 + z), gap = 1 − z²: it keeps the digits that the gap has."""
    return torch.log1p(2 * z * (1 + z) / gap) / 2


def _column(r: float | Tensor, like: Tensor) -> Tensor:
    """Numbers, one for each vector of `like`, in float64, ready to be multiplied with them."""
    return curvature(r, like).unsqueeze(-1)


def _exp0(v: Tensor, c: Tensor) -> Tensor:
    return differentiable(_exp0_value, _exp0_gradient, _exp0_value, v, c)


def _exp0_value(v: Tensor, c: Tensor) -> Tensor:
    return tanh_ratio(c.sqrt() * norm(v)) * v


def _exp0_gradient(grad: Tensor, v: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Along v the slope is 1/cosh², across v it is tanh(z)/z, z = √c‖v‖; the derivative of their ratio cancels."""
    v_hat, length = direction(v)
    z = c.sqrt() * length
    ratio, decay = tanh_ratio(z), torch.exp(-2 * z)
    slope = 4 * decay / (1 + decay) ** 2
    along = (grad * v_hat).sum(-1, keepdim=True)
    by_v = ratio * (grad - along * v_hat) + slope * along * v_hat
    return by_v, (along * (slope - ratio) * length).sum() / (2 * c)


def _log0(y: Tensor, gap: Tensor, c: Tensor) -> Tensor:
    return ratio(lambda z: _artanh(z, gap), (1.0, 1 / 3, 1 / 5, 1 / 7), c.sqrt() * norm(y)) * y


def _log(x: Tensor, y: Tensor, gap_x: Tensor, gap_y: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """A number and a vector whose product is log_x(y); across x, the vector is gap_x times what y is."""
    w = y - x
    z = c.sqrt() * norm(w) / (gap_x * gap_y).sqrt()  # sinh(√c d/2)
    step = gap_x * w - c * (w * w).sum(-1, keepdim=True) * x
    return asinh_ratio(z) / (torch.sqrt(1 + z * z) * gap_y), step


def _exp(x: Tensor, v: Tensor, v_across: Tensor, gap: Tensor, c: Tensor) -> Tensor:
    """exp_x(v), given the part of v across x with all its digits, and gap = 1 − c‖x‖².

    Möbius addition of x and y = tanh(a) v̂/√c, a = √c‖v‖/gap, has the right gradient. But y is far out and rounded, by
    what can be a long way where x ⊕ y is near the origin. So the value comes from hyperbolic polar coordinates, twice
    the unit-curvature distances A = 2a and B from x and the origin, θ the angle between x and v, v_⊥ the part across:

        √c exp_x(v) = ((sinh(B − A) + (1 + cos θ) sinh A cosh B) x̂ + sinh A v_⊥/‖v‖) /
                      (1 + cosh(B − A) + (1 + cos θ) sinh A sinh B).
    """
    a = c.sqrt() * norm(v) / gap
    y = tanh_ratio(a) / gap * v
    w, gap_y = x + y, even(_square_of_sech, (1.0, -1.0, 2 / 3, -17 / 45), c * (v * v).sum(-1, keepdim=True) / gap**2)
    square_w = c * (w * w).sum(-1, keepdim=True)
    naive = (gap * w + square_w * x) / (square_w + gap * gap_y)
    with torch.no_grad():
        (x_hat, x_length), (v_hat, v_length) = direction(x), direction(v)
        A, B = 2 * a.clamp(max=_LONGEST_STEP), 2 * _artanh(c.sqrt() * x_length, gap)
        aside = v_across / torch.where(v_length > 0, v_length, 1.0)
        cosine = (x_hat * v_hat).sum(-1, keepdim=True)
        obtuse = (aside * aside).sum(-1, keepdim=True) / (1 - cosine.clamp(max=0.0))
        turn = torch.where(cosine < 0, obtuse, 1 + cosine) * torch.sinh(A)  # (1 + cos θ) sinh A
        along = torch.sinh(B - A) + turn * torch.cosh(B)
        exact = (along * x_hat + torch.sinh(A) * aside) / (1 + torch.cosh(B - A) + turn * torch.sinh(B)) / c.sqrt()
    return naive + (exact - naive).detach()


def _square_of_sech(a: Tensor) -> Tensor:
    return torch.cosh(a.clamp(max=_LONGEST_STEP)) ** -2


def _gyrate(x: Tensor, y: Tensor, gap_x: Tensor, gap_y: Tensor, v: Tensor, c: Tensor) -> Tensor:
    """gyr[x, y]v = v + 2 (k Ωv + Ω²v)/(k² + ‖c x ∧ y‖²), with Ωv = c(⟨y, v⟩x − ⟨x, v⟩y) and k = 1 + c⟨x, y⟩.

    That is the rotation by twice the argument of 1 + c x ȳ, were the plane of x and y that of complex numbers. With
    w = x + y, k = (c‖w‖² + gap_x + gap_y)/2 and the denominator c‖w‖² + gap_x gap_y; and Ω stays what it is with w in
    place of y. So no digits are lost where x and y nearly cancel at the boundary.
    """
    w = x + y
    square_w = c * (w * w).sum(-1, keepdim=True)
    other = torch.where(square_w < 1 - gap_y, w, y)

    def omega(v: Tensor) -> Tensor:
        return c * ((other * v).sum(-1, keepdim=True) * x - (x * v).sum(-1, keepdim=True) * other)

    turned = omega(v)
    k = (square_w + gap_x + gap_y) / 2
    return v + 2 * (k * turned + omega(turned)) / (square_w + gap_x * gap_y)


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
    unit, length = pairs.polar(x)
    gap = 1 - c * length * length
    lost = gap.squeeze(-1) < (1.0 if x.dtype == torch.float64 else 1e-6)  # digits that the result would have
    (near,) = lost.nonzero(as_tuple=True)
    if len(near):
        gap[near] = boundary_gap(wide(x)[near], c)
    A, stretch = 2 * _artanh(c.sqrt() * length, gap), 2 * c.sqrt() / gap
    return pairs.Rows(unit, length, A, stretch, growth=stretch * length)


_all_distances = pairs.operator("ball", pairs.ChartKernel(_rows, _value, _gradient, formulas.ball_dist))


def _halves(length: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    cosh = (1 - c * length * length).rsqrt_()
    return c.sqrt() * length * cosh, cosh


def _slopes(length: Tensor, c: Tensor, half_sinh: Tensor, half_cosh: Tensor) -> tuple[Tensor, Tensor]:
    return 2 * c.sqrt() * half_cosh**2, 2 * half_sinh * half_cosh


def _lost(length: Tensor, c: Tensor) -> Tensor:
    return 1 - c * length * length < 1e-6


_one_to_one = one_to_one.operator(
    "ball", one_to_one.ChartKernel(_halves, _slopes, _value, _gradient, formulas.ball_dist, lost=_lost)
)
