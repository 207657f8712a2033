"""Means and distributions in hyperbolic space, and the Busemann function: distance from a point at infinity.

Points are tangent vectors at the origin (the chart of `geomdml.tangent`); from another chart, `spaces.Hyperbolic.to`
moves them. A tangent vector v has length 2‖v‖.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from geomdml import tangent
from geomdml._core import checks, formulas
from geomdml._core.autograd import differentiable, tell_apart
from geomdml._core.charts import log_sinh_ratio
from geomdml._core.curvatures import Curvature, check, for_each_curvature
from geomdml._core.exact import across, half_sine
from geomdml._core.numerics import LOG2, curvature, direction, log_add, log_cosh, log_sinh, norm, result_form
from geomdml._core.polar import Widened
from geomdml._core.series import even

__all__ = ["busemann", "frechet_mean", "wrapped_normal_log_prob", "wrapped_normal_sample"]


def __dir__() -> list[str]:
    return __all__


_STEPS = 100  # of Newton's method; a few suffice
_CLOSE = 1e-9  # of a step, as a share of the root of Σ w log_m(u)²
_LOG_TWO_PI = math.log(2 * math.pi)


@for_each_curvature("numbers")
def busemann(
    u: Float[Tensor, "*#batch D"], ideal: Float[Tensor, "*#batch D"], *, c: Curvature
) -> Float[Tensor, "*#batch"]:
    """How much nearer u is to a point at infinity than the origin is: the limit of d(u, tξ) − d(0, tξ).

    B = (1/√c) log(e^(−A) + 2 sinh A sin²(θ/2)), with A = 2√c‖u‖ and θ the angle between u and ξ.

    Args:
        u: (..., D) points, by their tangent vectors at the origin.
        ideal: (..., D) directions ξ of the points at infinity, of any length above 0; leading dimensions broadcast.
        c: absolute curvature, > 0: a number, a 0-d tensor, or (..., 1) that broadcasts to the points.

    Returns:
        (...) values, at least float32: −2‖u‖ on the ray to the ideal point, 2‖u‖ on the opposite one.

    Raises:
        ValueError, TypeError: shapes that do not match, dtypes that are not real floating point, values that are not
            finite, a direction of length 0, c ≤ 0.

    Source: Bridson and Haefliger, "Metric spaces of non-positive curvature" (1999), II.8.24; in the ball
    (1/√c) log(‖ξ − √c x‖²/(1 − c‖x‖²)).

    >>> u = torch.tensor([3.0, 4.0])
    >>> float(busemann(u, u, c=1.0)), float(busemann(u, -u, c=1.0))
    (-10.0, 10.0)
    """
    c64 = checks.curved(c, u=u, ideal=ideal)
    checks.finite(u=u, ideal=ideal)
    if checks.values_are_checked(ideal) and not bool((ideal != 0).any(-1).all()):
        raise ValueError("ideal has a direction of length 0; expected directions")
    pair = tell_apart(*torch.broadcast_tensors(Widened.apply(u), Widened.apply(ideal)))
    return differentiable(_busemann, _busemann_gradient, formulas.busemann, *pair, c64).to(**result_form(u, ideal))


def _busemann(u: Tensor, ideal: Tensor, c: Tensor) -> Tensor:
    A = 2 * c.sqrt() * norm(u).squeeze(-1)
    return log_add(-A, LOG2 + log_sinh(A) + 2 * half_sine(u, ideal).log()) / c.sqrt()


def _busemann_gradient(grad: Tensor, u: Tensor, ideal: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    (u_hat, length), (_, ideal_length) = direction(u), direction(ideal)
    length, ideal_length = length.squeeze(-1), ideal_length.squeeze(-1)
    A, log_s = 2 * c.sqrt() * length, 2 * half_sine(u, ideal).log()
    b = log_add(-A, LOG2 + log_sinh(A) + log_s)
    slope = torch.exp(LOG2 + log_cosh(A) + log_s - b) - torch.exp(-A - b)  # ∂b/∂A, in [−1, 1]
    slope = slope.clamp(-1, 1)
    turn = torch.exp(log_sinh_ratio(A) - b)  # sinh A/A over e^b: towards ξ, 2√c of it for each unit of length
    there = (length > 0).unsqueeze(-1)
    aside = torch.where(there, across(u, ideal), ideal) / ideal_length.unsqueeze(-1)
    by_u = 2 * c.sqrt() * (slope.unsqueeze(-1) * u_hat - turn.unsqueeze(-1) * aside)
    by_ideal = -(A * turn / ideal_length).unsqueeze(-1) * across(ideal, u_hat)
    growth = A * slope - b
    cosine = (u_hat * ideal).sum(-1) / ideal_length
    series = A**2 * (1 - cosine**2) * (0.5 + 2 * A * cosine / 3)
    by_c = (grad * torch.where(A < 1e-5, series, growth)).sum() / (2 * c**1.5)
    grad = grad.unsqueeze(-1) / c.sqrt()
    return grad * by_u, grad * by_ideal, by_c


@for_each_curvature("vectors", of_lists=True)
def frechet_mean(
    u: Float[Tensor, "*#batch N D"], weights: Float[Tensor, "*#batch N"] | None = None, *, c: Curvature
) -> Float[Tensor, "*#batch D"]:
    """The Fréchet mean of N points: the point m that minimises Σ w_i d(m, u_i)², of which there is exactly one.

    By Newton's method from the Einstein midpoint, its steps halved where they do not go down. The gradient by points,
    weights and c is that of the implicit function Σ w_i log_m(u_i) = 0.

    Args:
        u: (..., N, D) points, by their tangent vectors at the origin.
        weights: (..., N) weights ≥ 0, equal by default; they need not sum to 1.
        c: absolute curvature, > 0; of several, (..., 1, 1).

    Returns:
        (..., D) points, by their tangent vectors at the origin, at least float32.

    Raises: ValueError, TypeError: as `geomdml.tangent.midpoint`.

    Source: Lou et al., "Differentiating through the Fréchet mean" (2020), with Newton's steps for theirs.

    >>> frechet_mean(torch.tensor([[3.0, 0.0], [1.0, 0.0]]), c=1.0)
    tensor([2., 0.])
    """
    c64 = checks.curved(c, u=u)
    given = checks.weights(weights, u=u)
    checks.finite(u=u)
    points, shares = Widened.apply(u), Widened.apply(given)
    lead = torch.broadcast_shapes(points.shape[:-1], shares.shape)
    points, shares = points.expand(*lead, points.shape[-1]), shares.expand(lead)
    shares = shares / shares.sum(-1, keepdim=True)
    inputs = points, shares, c64, _newton(points.detach(), shares.detach(), c64.detach())
    return differentiable(_mean_value, _mean_gradient, _mean_formula, *inputs).to(**result_form(u))


def _mean_value(points: Tensor, shares: Tensor, c: Tensor, mean: Tensor) -> Tensor:
    return mean.view_as(mean)


def _mean_gradient(grad: Tensor, points: Tensor, shares: Tensor, c: Tensor, mean: Tensor) -> tuple[Tensor | None, ...]:
    """By the implicit function theorem: that of one step of Newton's from the mean, its Hessian a constant."""

    def moved(points: Tensor, shares: Tensor, c: Tensor) -> Tensor:
        return _newton_step(mean, points, shares, c)

    return *torch.func.vjp(moved, points, shares, c)[1](grad), None


def _mean_formula(points: Tensor, shares: Tensor, c: Tensor, mean: Tensor) -> Tensor:
    """Each step from the mean makes one more derivative right."""
    moved = _newton_step(mean.detach(), points, shares, c)
    return _newton_step(moved, points, shares, c)


def _newton_step(mean: Tensor, points: Tensor, shares: Tensor, c: Tensor) -> Tensor:
    ways = tangent.logmap(mean.unsqueeze(-2), points, c=c)
    pull = (shares.unsqueeze(-1) * ways).sum(-2)
    return tangent.expmap(mean, _solve(_hessian(ways.detach(), shares.detach(), c.detach()), pull), c=c)


def _solve(hessian: Tensor, pull: Tensor) -> Tensor:
    return torch.linalg.solve(hessian, pull.unsqueeze(-1)).squeeze(-1)


def _hessian(ways: Tensor, shares: Tensor, c: Tensor) -> Tensor:
    """The Hessian of Σ w d²/8 in the frame at m, of the ways log_m(u).

    That of a squared distance is 1 along the way to the point and δ coth δ across it.
    """
    unit, length = direction(ways)
    delta = (2 * c.sqrt() * length).squeeze(-1)
    safe = torch.where(delta > 0, delta, 1.0)
    bend = torch.where(delta > 0, safe / torch.tanh(safe), 1.0)
    along = torch.einsum("...n,...ni,...nj->...ij", shares * (1 - bend), unit, unit)
    identity = torch.eye(ways.shape[-1], dtype=ways.dtype, device=ways.device)
    return (shares * bend).sum(-1)[..., None, None] * identity + along


def _newton(points: Tensor, shares: Tensor, c: Tensor) -> Tensor:
    """Damped steps until they are `_CLOSE`, and a last one: the way that is left after it is the square of that."""

    def look(mean: Tensor) -> tuple[Tensor, Tensor]:
        ways = tangent.logmap(mean.unsqueeze(-2), points, c=c)
        return ways, (shares * (ways * ways).sum(-1)).sum(-1)

    mean = tangent.midpoint(points, shares, c=c)
    ways, value = look(mean)
    damping = torch.ones_like(value)
    for _ in range(_STEPS):
        step = _solve(_hessian(ways, shares, c), (shares.unsqueeze(-1) * ways).sum(-2))
        if bool((norm(step).squeeze(-1) <= _CLOSE * value.sqrt()).all()):
            break
        trial = tangent.expmap(mean, damping.unsqueeze(-1) * step, c=c)
        trial_ways, trial_value = look(trial)
        down = trial_value <= value * (1 + 1e-15)
        mean = torch.where(down.unsqueeze(-1), trial, mean)
        ways = torch.where(down[..., None, None], trial_ways, ways)
        value, damping = torch.where(down, trial_value, value), torch.where(down, 1.0, damping / 2)
    return tangent.expmap(mean, step, c=c)


def wrapped_normal_sample(
    mean: Float[Tensor, "*#batch D"],
    scale: float | Float[Tensor, "*#batch D"],
    *,
    c: Curvature,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*#batch D"]:
    """A draw of the wrapped normal distribution around each mean, with gradients by mean, scale and c.

    A normal vector at the origin, carried to the mean along the geodesic and followed from there.

    Args:
        mean: (..., D) points, by their tangent vectors at the origin.
        scale: standard deviations > 0 in units of distance: a number, or (..., D) one for each coordinate.
        c: absolute curvature, > 0: a number, a 0-d tensor, or (..., 1) that broadcasts to the means.
        generator: of the randomness; None is torch's own.

    Returns:
        (..., D) points, by their tangent vectors at the origin, at least float32.

    Raises: ValueError, TypeError: as `geomdml.tangent.expmap`; scales that are not above 0 and finite.

    Source: Nagano et al., "A wrapped normal distribution on hyperbolic space" (2019), algorithm 1.

    >>> means = torch.zeros(1000, 2)
    >>> u = wrapped_normal_sample(means, 0.3, c=1.0, generator=torch.Generator().manual_seed(0))
    >>> round(float((2 * u).std()), 1)  # at the origin distances are 2‖u‖
    0.3
    """
    checks.vectors(mean=mean)
    check(c, mean)
    scales = _scales(scale, mean)
    shape = torch.broadcast_shapes(mean.shape, scales.shape)
    noise = torch.randn(shape, dtype=torch.float64, device=scales.device, generator=generator)
    return tangent.expmap(Widened.apply(mean), scales * noise / 2, c=c).to(**result_form(mean))


def wrapped_normal_log_prob(
    u: Float[Tensor, "*#batch D"],
    mean: Float[Tensor, "*#batch D"],
    scale: float | Float[Tensor, "*#batch D"],
    *,
    c: Curvature,
) -> Float[Tensor, "*#batch"]:
    """Logarithm of the density of the wrapped normal distribution at u, with respect to hyperbolic volume.

    log N(w; 0, scale²) − (D − 1) log(sinh δ/δ), where w, of length d(mean, u), leads from the mean to u and
    δ = √c d(mean, u).

    Args:
        u, mean: (..., D) points, by their tangent vectors at the origin; leading dimensions broadcast.
        scale, c: as for `wrapped_normal_sample`.

    Returns:
        (...) logarithms, at least float32. Over the space the density integrates to 1, with lengths as `dist` has them.

    Raises: ValueError, TypeError: as `wrapped_normal_sample`.

    Source: Nagano et al. (2019), equation (10); their vectors, and so ours of length 2‖v‖, are in units of distance.

    >>> at = torch.zeros(2)
    >>> float(wrapped_normal_log_prob(at, at, 1.0, c=0.5))  # −log 2π
    -1.8378770351409912
    """
    checks.vectors(u=u, mean=mean)
    check(c, mean)
    scales, root = _scales(scale, mean), (Widened.apply(c) if isinstance(c, Tensor) else curvature(c, mean)).sqrt()
    way = 2 * tangent.logmap(Widened.apply(mean), Widened.apply(u), c=c)
    square, dim = (root * way).square().sum(-1), way.shape[-1]  # δ²
    exponent = ((way / scales) ** 2).sum(-1) / 2 + scales.log().expand_as(way).sum(-1)
    result = (
        -exponent - dim * _LOG_TWO_PI / 2 - (dim - 1) * even(log_sinh_ratio, (0.0, 1 / 6, -1 / 180, 1 / 2835), square)
    )
    return result.to(**result_form(u, mean))


def _scales(scale: float | Tensor, mean: Tensor) -> Tensor:
    checks.numbers(mean.shape, scale=scale)
    scales = Widened.apply(scale) if isinstance(scale, Tensor) else curvature(scale, mean)
    if checks.values_are_checked(scales.detach()) and not bool((scales > 0).all()):
        raise ValueError("scale has values that are not above 0; expected standard deviations")
    return scales
