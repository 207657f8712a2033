"""Hyperbolic space in the chart of its tangent space at the origin.

A point x of the Poincaré ball is kept as the vector u with x = exp_0(u): Riemannian normal coordinates up to a factor
2, for the distance of x from the origin is 2‖u‖. No vector lies outside the space, the number format clips nothing,
however far out a point is, and the last layer of a network already produces it. This is the chart to train in.

With A = 2√c‖u‖, B = 2√c‖v‖, θ the angle between u and v, and δ = √c·d, the hyperbolic law of cosines reads

    sinh²(δ/2) = sinh²((A − B)/2) + sinh A · sinh B · s,        s = sin²(θ/2) = ‖û − v̂‖²/4.

Both terms are positive, so no digits cancel; everything is evaluated in float64 and in logarithms, so nothing overflows
at any radius. `c` > 0 is the absolute curvature: a number, a 0-d tensor, or a tensor (..., 1) that broadcasts to the
points, such as one for each head. Gradients flow through it.

A tangent vector at a point u other than the origin is given by the vector at the origin that arrives as it when it is
carried along the geodesic from the origin to u (parallel transport). So a vector v is 2‖v‖ long everywhere, at the
origin it is the chart's own, and nothing grows as e^A, as the coordinates of the ball and the hyperboloid do. In the
ball the same vector at x is (1 − c‖x‖²)v.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from geomdml import poincare
from geomdml._core import all_pairs as pairs
from geomdml._core import checks, formulas, one_to_one, polar
from geomdml._core.autograd import differentiable
from geomdml._core.batches import over_batches
from geomdml._core.charts import TANGENT, log_sinh_ratio
from geomdml._core.checks import Numbers
from geomdml._core.curvatures import Curvature, for_each_curvature
from geomdml._core.exact import across, half_sine
from geomdml._core.numerics import LOG2, asinh_exp, curvature, direction, log_cosh, log_sinh, result_form, wide

__all__ = [
    "dist",
    "expmap",
    "from_ball",
    "geodesic",
    "lca_depth",
    "logmap",
    "midpoint",
    "mobius_add",
    "pairwise_dist",
    "to_ball",
]


def __dir__() -> list[str]:
    return __all__


@for_each_curvature("numbers")
def dist(u: Float[Tensor, "*#batch D"], v: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch"]:
    """Hyperbolic distance between points given by their tangent vectors.

    Args:
        u, v: (..., D) points, by their tangent vectors at the origin; leading dimensions broadcast.
        c: absolute curvature, > 0.

    Returns:
        (...) distances, at least float32. Equal vectors are at exactly 0; the gradient there is 0.

    Raises:
        ValueError, TypeError: shapes that do not match, dtypes that are not real floating point, c ≤ 0, NaN.

    Source: the hyperbolic law of cosines; see the module's docstring.

    >>> u = torch.tensor([3.0, 4.0])
    >>> float(dist(u, torch.zeros(2), c=1.0))  # 2‖u‖
    10.0
    >>> float(dist(u, -u, c=1.0))
    20.0
    """
    c64 = checks.curved(c, u=u, v=v)
    checks.finite(u=u, v=v)
    return _one_to_one(u, v, c64)


@for_each_curvature("pairs")
@over_batches
def pairwise_dist(
    u: Float[Tensor, "*#batch B D"], v: Float[Tensor, "*#batch P D"], *, c: Curvature
) -> Float[Tensor, "*#batch B P"]:
    """The `dist` of all pairs of two lists of points, in O(B·P) memory.

    Args: u, v, c: as for `dist`, but u and v are (..., B, D) and (..., P, D).

    Returns: (..., B, P) distances, at least float32.

    Raises: ValueError, TypeError: as `dist`.

    Source: the hyperbolic law of cosines; see the module's docstring.

    >>> pairwise_dist(torch.tensor([[0.5, 0.0], [0.0, 2.0]]), torch.zeros(1, 2), c=1.0)  # 2‖u‖
    tensor([[1.],
            [4.]])
    """
    checks.rows(u=u, v=v)
    checks.positive(c=c)
    checks.finite(u=u, v=v)
    return _all_distances(u, v, curvature(c, u))


@for_each_curvature("vectors")
def from_ball(x: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch D"]:
    """The tangent vector u of a point x of the ball: log_0(x).

    Args:
        x: (..., D) points inside the ball.
        c: as for `dist`.

    Returns:
        (..., D) tangent vectors at the origin, at least float32.

    Raises: ValueError, TypeError: as `dist`; a point outside the ball.

    Source: `geomdml.poincare.logmap0`.

    >>> from_ball(torch.tensor([0.5, 0.0]), c=1.0)
    tensor([0.5493, 0.0000])
    """
    checks.curved(c, x=x)
    poincare.inside(c, x=x)
    return poincare.logmap0(x, c=c)


@for_each_curvature("points of the ball")
def to_ball(u: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch D"]:
    """The point of the ball with tangent vector u: exp_0(u), at most the last float inside the ball.

    Args:
        u: (..., D) tangent vectors at the origin.
        c: absolute curvature, > 0.

    Returns:
        (..., D) points of the ball, at least float32.

    Raises: ValueError, TypeError: as `dist`.

    Source: CHEST (arXiv 2510.05643) equation (4), `geomdml.poincare.expmap0`.

    >>> to_ball(torch.tensor([0.5, 0.0]), c=1.0)
    tensor([0.4621, 0.0000])
    """
    checks.curved(c, u=u)
    checks.finite(u=u)
    return poincare.expmap0(u, c=c)


@for_each_curvature("vectors")
def mobius_add(
    u: Float[Tensor, "*#batch D"], v: Float[Tensor, "*#batch D"], *, c: Curvature
) -> Float[Tensor, "*#batch D"]:
    """Möbius addition u ⊕ v: the point v carried along by the translation that takes the origin to u.

    Args: u, v, c: as for `dist`.

    Returns:
        (..., D) tangent vectors at the origin, at least float32; exactly 0 where v = −u.

    Raises: ValueError, TypeError: as `dist`.

    Source: `geomdml.poincare.mobius_add` in this chart, by the triangle of the origin, u and u ⊕ v.

    >>> u = torch.tensor([3.0, 4.0])
    >>> mobius_add(u, u, c=1.0), mobius_add(-u, u, c=1.0)
    (tensor([6., 8.]), tensor([0., 0.]))
    """
    c64 = checks.curved(c, u=u, v=v)
    checks.finite(u=u, v=v)
    return polar.translate(u, v, c64, *[TANGENT] * 3).to(**result_form(u, v))


@for_each_curvature("vectors")
def expmap(u: Float[Tensor, "*#batch D"], v: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch D"]:
    """exp_u(v): the point reached from u along the tangent vector v at u; its distance from u is 2‖v‖.

    Args:
        u, c: as for `dist`.
        v: (..., D) tangent vectors at u, carried back to the origin (see the module's docstring); leading dimensions
            broadcast.

    Returns:
        (..., D) points, by their tangent vectors at the origin, at least float32: u ⊕ v, for translations carry vectors
        along geodesics through the origin.

    Raises: ValueError, TypeError: as `dist`.

    Source: Ganea et al. (2018) theorem 4: transport from the origin is the differential of the translation.

    >>> expmap(torch.tensor([3.0, 4.0]), torch.tensor([-0.3, -0.4]), c=1.0)
    tensor([2.7000, 3.6000])
    """
    return mobius_add(u, v, c=c)


@for_each_curvature("vectors")
def logmap(u: Float[Tensor, "*#batch D"], v: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch D"]:
    """log_u(v), the tangent vector at u that leads to v: the inverse of `expmap`, of length ‖·‖ = d(u, v)/2.

    Args: u, v, c: as for `dist`.

    Returns:
        (..., D) tangent vectors at u, carried back to the origin, at least float32: (−u) ⊕ v, exactly 0 where v = u.

    Raises: ValueError, TypeError: as `dist`.

    Source: as `expmap`.

    >>> logmap(torch.tensor([3.0, 4.0]), torch.tensor([2.7, 3.6]), c=1.0)
    tensor([-0.3000, -0.4000])
    """
    checks.vectors(u=u, v=v)
    return mobius_add(-u, v, c=c)


@for_each_curvature("vectors")
def geodesic(
    u: Float[Tensor, "*#batch D"], v: Float[Tensor, "*#batch D"], t: Numbers, *, c: Curvature
) -> Float[Tensor, "*#batch D"]:
    """The point at t·d(u, v) from u on the geodesic through u, at t = 0, and v, at t = 1.

    Args:
        u, v, c: as for `dist`.
        t: a number, or (...) numbers that broadcast to the leading dimensions.

    Returns:
        (..., D) points, by their tangent vectors at the origin, at least float32. Where the geodesic passes the
        origin, the error is 1e-14 of ‖u‖ or ‖v‖.

    Raises: ValueError, TypeError: as `dist`; t not finite.

    Source: u ⊕ t·((−u) ⊕ v), Ganea et al. (2018) section 2.4, walked from the nearer end.

    >>> u = torch.tensor([3.0, 4.0])
    >>> geodesic(u, -u, torch.tensor([0.25, 0.75]), c=1.0)
    tensor([[ 1.5000,  2.0000],
            [-1.5000, -2.0000]])
    """
    c64 = checks.curved(c, u=u, v=v)
    checks.numbers(torch.broadcast_shapes(u.shape, v.shape)[:-1], t=t)
    checks.finite(u=u, v=v)
    return polar.geodesic(u, v, t, c64, TANGENT).to(**result_form(u, v))


@for_each_curvature("vectors", of_lists=True)
def midpoint(
    u: Float[Tensor, "*#batch N D"], weights: Float[Tensor, "*#batch N"] | None = None, *, c: Curvature
) -> Float[Tensor, "*#batch D"]:
    """Einstein midpoint of N points: in the Lorentz model their weighted sum, brought back to the hyperboloid.

    Args:
        u: (..., N, D) points, by their tangent vectors at the origin.
        weights, c: as of `geomdml.poincare.midpoint`.

    Returns:
        (..., D) points, by their tangent vectors at the origin, at least float32. Where points cancel, the error is
        1e-14 of the longest of them.

    Raises: ValueError, TypeError: as `dist`; weights that cannot be.

    Source: as `geomdml.poincare.midpoint`.

    >>> midpoint(torch.tensor([[300.0, 0.0], [100.0, 0.0], [7.0, 9.0]]), torch.tensor([1.0, 1.0, 0.0]), c=0.5)
    tensor([200.,   0.])
    """
    c64 = checks.curved(c, u=u)
    weights = checks.weights(weights, u=u)
    checks.finite(u=u)
    return polar.midpoint(u, weights, c64, TANGENT).to(**result_form(u))


@for_each_curvature("numbers")
def lca_depth(
    u: Float[Tensor, "*#batch D"], v: Float[Tensor, "*#batch D"], *, c: Curvature
) -> Float[Tensor, "*#batch"]:
    """Depth of the lowest common ancestor: the distance from the origin to the geodesic segment between two points.

    Args: u, v, c: as for `dist`.

    Returns:
        (...) depths, at least float32: the length of the perpendicular from the origin where its foot lies on the
        segment, else the distance of the nearer end. (The published HypHC code takes the whole geodesic: 0 for u and
        2u/3, NaN at u = 0.)

    Raises: ValueError, TypeError: as `dist`.

    Source: Chami et al., "From trees to continuous embeddings and back" (2020), section 4.1, on the segment.

    >>> u = torch.tensor([1.5, 0.0])
    >>> float(lca_depth(u, 2 * u / 3, c=1.0)), float(lca_depth(u, -u, c=1.0))
    (2.0, 0.0)
    """
    c64 = checks.curved(c, u=u, v=v)
    checks.finite(u=u, v=v)
    form = result_form(u, v)
    u, v = torch.broadcast_tensors(wide(u), wide(v))
    return differentiable(_depth, _depth_gradient, _depth_formula, u, v, c64).to(**form)


def _value(u: Tensor, v: Tensor, c: Tensor) -> Tensor:
    """Distances one to one, of float64 vectors."""
    return polar.third_side(u, v, c, TANGENT)[0] / c.sqrt()


def _gradient(grad: Tensor, u: Tensor, v: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of `_value`, in closed form: finite where the formula's own derivative is not."""
    delta, A, B, apart, sine = polar.third_side(u, v, c, TANGENT)
    s = sine**2
    (u_hat, u_length), (v_hat, v_length) = direction(u), direction(v)
    grad = torch.where(delta > 0, grad, 0.0)  # the sub-gradient 0 at duplicates
    log_sinh_delta = log_sinh(torch.where(delta > 0, delta, 1.0))
    # ∂δ/∂A = (sinh(A − B) + 2 cosh A sinh B · s)/sinh δ, which lies in [−1, 1].
    radial = torch.exp(log_sinh(apart.abs()) - log_sinh_delta)
    around_A = torch.exp(LOG2 + log_cosh(A) + log_sinh(B) + s.log() - log_sinh_delta)
    around_B = torch.exp(LOG2 + log_cosh(B) + log_sinh(A) + s.log() - log_sinh_delta)
    slope_A = (torch.sign(apart) * radial + around_A).clamp(-1, 1)
    slope_B = (around_B - torch.sign(apart) * radial).clamp(-1, 1)
    # Turning u by a right angle costs (sinh A / A)(sinh B / sinh δ); capped where it would leave float64.
    turn_u = _exp(log_sinh_ratio(A) + log_sinh(B) - log_sinh_delta)
    turn_v = _exp(log_sinh_ratio(B) + log_sinh(A) - log_sinh_delta)
    by_u = _along_and_across(2 * grad, slope_A, turn_u, u_hat, across(u, v), v_length)
    by_v = _along_and_across(2 * grad, slope_B, turn_v, v_hat, across(v, u), u_length)
    growth = apart.abs() * radial + A * around_A + B * around_B - delta  # A ∂δ/∂A + B ∂δ/∂B − δ
    # For short vectors the terms cancel; their sum is A²B²sin²θ/(3δ) to leading order.
    short = torch.maximum(A, B) < 1e-4
    series = (A * B) ** 2 * 4 * s * (1 - s) / (3 * torch.where(delta > 0, delta, 1.0))
    by_c = (grad * torch.where(short, series, growth)).sum() / (2 * c**1.5)
    return by_u, by_v, by_c


class _Foot(NamedTuple):
    """The perpendicular from the origin to the geodesic through two points, at unit curvature."""

    inside: Tensor  # whether its foot is inside the segment; what follows up to the height holds there
    log_p: Tensor  # log sinh p, p the way from the foot to u
    log_r: Tensor  # log sinh r, from the foot to v
    log_delta: Tensor  # log sinh δ
    height: Tensor  # h; the radius of the nearer end where the foot is not inside
    A: Tensor
    B: Tensor
    apart: Tensor  # A − B


def _foot(u: Tensor, v: Tensor, c: Tensor) -> _Foot:
    """By right triangles: sinh h = sinh A sinh B sin θ/sinh δ and, φ the angle at the origin between the foot and u,

        sinh p = sinh A sin φ,    tan φ = (tanh A − tanh B cos θ)/(tanh B sin θ).

    The numerator is sinh(A − B)/(cosh A cosh B) + 2s tanh B: near-duplicates do not cancel.
    """
    delta, A, B, apart, sine = polar.third_side(u, v, c, TANGENT)
    s = sine**2
    rise = LOG2 + log_cosh(torch.minimum(A, B)) + log_sinh(torch.maximum(A, B)) + s.log()
    inside = (torch.minimum(A, B) > 0) & (delta > 0) & (rise > log_sinh(apart.abs()))
    log_delta = log_sinh(torch.where(inside, delta, 1.0))
    log_sine = LOG2 + sine.log() + half_sine(u, -v).log()  # of θ
    height = asinh_exp(torch.where(inside, log_sinh(A) + log_sinh(B) + log_sine - log_delta, 0.0))
    steep = torch.sign(apart) * torch.exp(log_sinh(apart.abs()) - log_cosh(A) - log_cosh(B))

    def log_way(R: Tensor, other: Tensor, steep: Tensor) -> Tensor:
        rise, run = steep + 2 * s * torch.tanh(other), torch.exp(log_sine) * torch.tanh(other)
        return log_sinh(R) + torch.log(rise.clamp(min=0.0) / torch.hypot(rise, run))

    height = torch.where(inside, height, torch.minimum(A, B))
    return _Foot(inside, log_way(A, B, steep), log_way(B, A, -steep), log_delta, height, A, B, apart)


def _depth(u: Tensor, v: Tensor, c: Tensor) -> Tensor:
    return _foot(u, v, c).height / c.sqrt()


def _depth_gradient(grad: Tensor, u: Tensor, v: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Moved at a right angle to the geodesic, u moves the foot sinh r/sinh δ of its way, and h grows by that.

    With the angle at u from its right triangle, ∂h/∂A = sinh r/sinh δ · sinh h/sinh A and
    ∂h/∂θ = −sinh p sinh r cosh h/sinh δ, for a turn away from v.
    """
    inside, log_p, log_r, log_delta, height, A, B, apart = _foot(u, v, c)
    turn = torch.where(inside, _exp(log_p + log_r + log_cosh(height) - log_delta), 0.0)

    def along(log_way: Tensor, R: Tensor, apart: Tensor) -> Tensor:  # where the foot is not inside, of the nearer end
        slope = torch.exp(log_way + log_sinh(height) - log_sinh(R) - log_delta)
        return torch.where(inside, slope, (1 - torch.sign(apart)) / 2)

    def by_point(slope: Tensor, w: Tensor, R: Tensor, other: Tensor) -> Tensor:
        towards = direction(across(w, other))[0] * (turn / torch.where(R > 0, R, 1.0)).unsqueeze(-1)
        return 2 * grad.unsqueeze(-1) * (slope.unsqueeze(-1) * direction(w)[0] + towards)

    by_A, by_B = along(log_r, A, apart), along(log_p, B, -apart)
    by_c = (grad * (A * by_A + B * by_B - height)).sum() / (2 * c**1.5)
    return by_point(by_A, u, A, v), by_point(by_B, v, B, u), by_c


def _depth_formula(u: Tensor, v: Tensor, c: Tensor) -> Tensor:
    return formulas.lca_depth(u, v, c, _foot(u.detach(), v.detach(), c.detach()).inside)


def _along_and_across(grad: Tensor, slope: Tensor, turn: Tensor, unit: Tensor, aside: Tensor, length: Tensor) -> Tensor:
    """grad · (slope û − turn (v̂ − cos θ û)), given the part of v across u and the length of v."""
    along, across = (grad * slope).unsqueeze(-1), (grad * turn).unsqueeze(-1)
    return along * unit - across * aside / torch.where(length > 0, length, 1.0)


def _exp(x: Tensor) -> Tensor:
    return torch.exp(x.clamp(max=300.0))


def _rows(u: Tensor, c: Tensor) -> pairs.Rows:
    unit, length = pairs.polar(u)
    stretch, A = (2 * c.sqrt()).expand_as(length), 2 * c.sqrt() * length
    return pairs.Rows(unit, length, A, stretch, growth=A)


_all_distances = pairs.operator("tangent", pairs.ChartKernel(_rows, _value, _gradient, formulas.tangent_dist))


def _halves(length: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    half = (c.sqrt() * length).clamp_(max=one_to_one.LARGEST_HALF).expm1_()  # e^(A/2) − 1
    shrunk = half / (half + 1)
    return (half + shrunk) / 2, 1 + (half - shrunk) / 2


def _slopes(length: Tensor, c: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:
    return (2 * c.sqrt()).expand_as(length), 2 * c.sqrt() * length


def _beyond(length: Tensor, c: Tensor) -> Tensor:
    return (2 * (c.sqrt() * length - one_to_one.LARGEST_HALF)).clamp_(min=0.0)


_one_to_one = one_to_one.operator(
    "tangent", one_to_one.ChartKernel(_halves, _slopes, _value, _gradient, formulas.tangent_dist, beyond=_beyond)
)
