"""Entailment cones: at every point a cone that opens away from the origin, for what the point entails.

Points are tangent vectors at the origin (the chart of `geomdml.tangent`); from another chart, `spaces.Hyperbolic.to`
moves them. With A = 2√c‖u‖, B = 2√c‖v‖, δ = √c·d(u, v), and α the angle at u of the triangle of the origin, u and v,

    half aperture  ω(u) = asin(min(1, 2k/sinh A)),        exterior angle  ψ(u, v) = π − α,

and v lies in the cone of u where ψ(u, v) ≤ ω(u).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from geomdml._core import checks, map_formulas, polar
from geomdml._core.autograd import differentiable, tell_apart
from geomdml._core.charts import TANGENT
from geomdml._core.curvatures import Curvature, for_each_curvature
from geomdml._core.exact import across
from geomdml._core.numerics import direction, log_cosh, log_sinh, norm, result_form

__all__ = ["entailment", "exterior_angle", "half_aperture"]


def __dir__() -> list[str]:
    return __all__


@for_each_curvature("numbers", degree=0)
def half_aperture(u: Float[Tensor, "*batch D"], *, c: Curvature, k: float = 0.1) -> Float[Tensor, "*batch"]:
    """Half the opening angle of the cone at u, asin(min(1, 2k/sinh A)).

    Args:
        u: (..., D) points, by their tangent vectors at the origin.
        c: absolute curvature, > 0: a number, a 0-d tensor, or (..., 1) that broadcasts to the points.
        k: > 0; cones nearer to the origin than asinh(2k)/√c are half-spaces.

    Returns:
        (...) angles in radians, in (0, π/2], at least float32. Where the cone is a half-space the gradient is 0.

    Raises:
        ValueError, TypeError: u that is no real floating point or not finite, c ≤ 0, k ≤ 0.

    Source: Ganea, Bécigneul and Hofmann, "Hyperbolic entailment cones" (2018), equation (26), and Desai et al.,
    "Hyperbolic image-text representations" (MERU, 2023), equation (6), with sinh A = √c‖x_space‖.

    >>> half_aperture(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), c=1.0)
    tensor([1.5708, 0.0552])
    """
    c64 = checks.curved(c, u=u)
    checks.positive(k=k)
    checks.finite(u=u)
    A = TANGENT.radius(norm(polar.Widened.apply(u)).squeeze(-1), c64)
    narrow = A.detach() > math.asinh(2 * k)
    p = math.log(2 * k) - log_sinh(torch.where(narrow, A, math.asinh(2 * k) + 1))  # of the sine, below 0
    p = p.clamp(max=-1e-17)  # the slope is infinite at 0
    wide = p > -1  # there the sine is near 1, where asin loses digits
    by_tangent = torch.atan(torch.expm1(-2 * torch.where(wide, p, -1.0)).rsqrt())
    by_sine = torch.asin(torch.exp(torch.where(wide, -1.0, p)))
    return torch.where(narrow, torch.where(wide, by_tangent, by_sine), math.pi / 2).to(**result_form(u))


@for_each_curvature("numbers", degree=0)
def exterior_angle(
    u: Float[Tensor, "*#batch D"], v: Float[Tensor, "*#batch D"], *, c: Curvature
) -> Float[Tensor, "*#batch"]:
    """The angle at u between the ray from the origin through u, beyond u, and the geodesic from u to v.

    Args:
        u, v: (..., D) points, by their tangent vectors at the origin; leading dimensions broadcast.
        c: absolute curvature, > 0: a number, a 0-d tensor, or (..., 1) that broadcasts to the points.

    Returns:
        (...) angles in radians, in [0, π], at least float32: 0 for v beyond u on its ray, π for v before u on it. No
        acos, and so no clamp: small angles have all their digits. At v = u and at u = 0, where there is no angle, it is
        0, and so is the gradient. For v on the ray, where the angle has a kink, the gradient across the ray is 0.

    Raises: ValueError, TypeError: as `geomdml.tangent.dist`.

    Source: Ganea et al. (2018), equation (28), and MERU (2023), equation (7), by the triangle of the origin, u and v.

    >>> u = torch.tensor([1.0, 0.0])
    >>> exterior_angle(u, torch.tensor([[2.0, 0.0], [0.5, 0.0], [-1.0, 0.0]]), c=1.0)
    tensor([0.0000, 3.1416, 3.1416])
    """
    c64 = checks.curved(c, u=u, v=v)
    checks.finite(u=u, v=v)
    u64, v64 = tell_apart(*torch.broadcast_tensors(polar.Widened.apply(u), polar.Widened.apply(v)))
    return differentiable(_angle, _angle_gradient, _angle_formula, u64, v64, c64).to(**result_form(u, v))


def entailment(
    u: Float[Tensor, "*#batch D"], v: Float[Tensor, "*#batch D"], *, c: Curvature, k: float = 0.1
) -> Float[Tensor, "*#batch"]:
    """How far v lies outside the cone of u, max(0, ψ(u, v) − ω(u)): 0 where u entails v.

    Args:
        u, v, c: as for `exterior_angle`.
        k: as for `half_aperture`.

    Returns: (...) angles in radians, at least float32.

    Raises: ValueError, TypeError: as `exterior_angle` and `half_aperture`.

    Source: Ganea et al. (2018), equation (29); MERU (2023), equation (8).

    >>> dog, poodle, car = torch.tensor([1.0, 0.0]), torch.tensor([2.0, 0.01]), torch.tensor([0.0, 2.0])
    >>> entailment(dog, torch.stack([poodle, car]), c=1.0)
    tensor([0.0000, 2.8176])
    """
    return torch.relu(exterior_angle(u, v, c=c) - half_aperture(u, c=c, k=k))


def _angle(u: Tensor, v: Tensor, c: Tensor) -> Tensor:
    side, at_u, _ = polar.triangle(u, v, c, TANGENT)
    defined = (side > 0) & (u != 0).any(-1)
    return torch.where(defined, torch.atan2(at_u.sin, -at_u.cos), 0.0)


def _angle_gradient(grad: Tensor, u: Tensor, v: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """An end that moves turns the third side: by the part of its way across that side, over sinh δ.

    With β the angle at v, that is ∂ψ/∂A = sin ψ · coth δ (the ray turns too), ∂ψ/∂B = −sin β/sinh δ and, θ the angle at
    the origin, ∂ψ/∂θ = sinh B · cos β/sinh δ.
    """
    side, at_u, at_v = polar.triangle(u, v, c, TANGENT)
    (u_hat, u_length), (v_hat, v_length) = direction(u), direction(v)
    u_length, v_length = u_length.squeeze(-1), v_length.squeeze(-1)
    defined = (side > 0) & (u_length > 0)
    grad, side = torch.where(defined, grad, 0.0), torch.where(defined, side, 1.0)
    A, B = (TANGENT.radius(length, c) for length in (u_length, v_length))
    by_A = _exp(at_u.log_sin + log_cosh(side) - log_sinh(side))
    by_B = -_exp(at_v.log_sin - log_sinh(side))
    turn = at_v.cos * _exp(log_sinh(B) - log_sinh(side))
    per_length = 2 * c.sqrt()

    def by_point(slope: Tensor, w_hat: Tensor, length: Tensor, w: Tensor, other: Tensor, turn: Tensor) -> Tensor:
        towards, _ = direction(across(w, other))  # where w turns, the angle at the origin falls
        around = torch.where(length > 0, turn / torch.where(length > 0, length, 1.0), 0.0)
        return grad.unsqueeze(-1) * ((per_length * slope).unsqueeze(-1) * w_hat - around.unsqueeze(-1) * towards)

    by_c = (grad * (A * by_A + B * by_B)).sum() / (2 * c)
    return by_point(by_A, u_hat, u_length, u, v, turn), by_point(by_B, v_hat, v_length, v, u, turn), by_c


def _angle_formula(u: Tensor, v: Tensor, c: Tensor) -> Tensor:
    defined = ((u != v) & (u != 0).any(-1, keepdim=True)).any(-1, keepdim=True)
    angle = map_formulas.exterior_angle(torch.where(defined, u, 1.0), torch.where(defined, v, 2.0), c)
    return torch.where(defined.squeeze(-1), angle, 0.0)


def _exp(x: Tensor) -> Tensor:
    return torch.exp(x.clamp(max=300.0))
