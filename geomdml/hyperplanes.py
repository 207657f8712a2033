"""Hyperplanes of hyperbolic space, and how far points lie from them: what a linear classifier becomes there.

A hyperplane has a unit normal ẑ and an offset r: it is at a right angle to the ray of ẑ, through exp_0(r ẑ). Points are
tangent vectors at the origin (the chart of `geomdml.tangent`). With A = 2√c‖u‖, ρ = 2√c r, θ the angle between u and ẑ,

    sinh(√c · d) = sinh A cosh ρ cos θ − cosh A sinh ρ = sinh(A − ρ) − 2 sinh A cosh ρ sin²(θ/2).

The first form cancels near the hyperplane where û is near ẑ, and the second where it is not.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from geomdml._core import checks
from geomdml._core.charts import TANGENT
from geomdml._core.curvatures import Curvature, check
from geomdml._core.formulas import near_origin
from geomdml._core.numerics import asinh_exp, curvature, direction, entries, result_form
from geomdml._core.polar import Widened

__all__ = ["signed_dist"]


def __dir__() -> list[str]:
    return __all__


_NEAR = 0.01  # of sin²(θ/2)
_CENTRAL = 1.0  # of A; below, and below half of ρ, functions are taken that are smooth at the origin
_FAR = 300.0  # of A + |ρ|; beyond, the distance is taken in logarithms


def signed_dist(
    u: Float[Tensor, "*batch D"], normals: Float[Tensor, "M D"], offsets: Float[Tensor, " M"], *, c: Curvature
) -> Float[Tensor, "*batch M"]:
    """Distances of points from hyperplanes, above zero on the side to which the normal points.

    Args:
        u: (..., D) points, by their tangent vectors at the origin.
        normals: (M, D) normals, of any length above 0.
        offsets: (M,) where the hyperplanes cross the rays of their normals: exp_0(r ẑ), 2|r| from the origin.
        c: absolute curvature, > 0: a number, a 0-d tensor, or (..., 1) that broadcasts to the points.

    Returns:
        (..., M) distances, at least float32, from matrix products: those of points that are moved by a rounding in
        float64. Their derivatives by u, normals, offsets and c can be differentiated again.

    Raises:
        ValueError, TypeError: shapes that do not match, dtypes that are not real floating point, values that are not
            finite, a normal of length 0, c ≤ 0.

    Source: Ganea, Bécigneul and Hofmann, "Hyperbolic neural networks" (2018), theorem 5; with offsets as Shimizu et
    al., "Hyperbolic neural networks++" (2021), equation (6).

    >>> u, normals = torch.tensor([[1.5, 0.0], [0.5, 7.0]]), torch.tensor([[1.0, 0.0]])
    >>> signed_dist(u[:1], normals, torch.tensor([0.5]), c=1.0)  # 2(1.5 − 0.5)
    tensor([[2.]])
    """
    checks.floating(u=u, normals=normals, offsets=offsets)
    check(c, u)
    checks.finite(u=u, normals=normals, offsets=offsets)
    if not (normals.ndim == 2 and u.ndim and u.shape[-1] == normals.shape[1] and offsets.shape == normals.shape[:1]):
        raise ValueError(
            f"u, normals and offsets have shapes {tuple(u.shape)}, {tuple(normals.shape)} and {tuple(offsets.shape)}; "
            "expected (..., D), (M, D) and (M,)"
        )
    form = result_form(u, normals, offsets)
    z_hat, length = direction(Widened.apply(normals))
    if checks.values_are_checked(normals) and not bool((length > 0).all()):
        raise ValueError("normals has one of length 0; expected directions")
    u, offsets = Widened.apply(u), Widened.apply(offsets)
    root = (Widened.apply(c) if isinstance(c, Tensor) else curvature(c, u)).sqrt()
    side = torch.where(offsets.detach() < 0, -1.0, 1.0)  # the mirror image of a hyperplane with r < 0 has −r and −ẑ
    z_hat, (u_hat, radius) = side.unsqueeze(-1) * z_hat, direction(u)
    A, rho = 2 * root * radius, 2 * root * (side * offsets)
    height, s = u @ z_hat.T, _square_of_half_sine(u_hat, z_hat)
    central = A.detach() < _CENTRAL
    near = central & (2 * A.detach() < rho.detach())
    sine = _asinh_of_sine(A, rho, radius, height, s, root)
    if not checks.none_of(near):
        by_vector = _asinh_near_origin(root * torch.where(central, u, 0.0), z_hat, torch.where(near, rho, 1.0))
        sine = torch.where(near, by_vector, sine)
    return (side * sine / root).to(**form)


def _asinh_near_origin(u: Tensor, z_hat: Tensor, rho: Tensor) -> Tensor:
    """asinh(⟨p, ẑ⟩ cosh ρ − cosh A sinh ρ), p = sinh A · û, smooth at the origin, of u at unit curvature."""
    z, shrunk = near_origin(u, u.new_ones(()), TANGENT), torch.exp(-2 * rho)
    cosh = 1 + 2 * z.half.unsqueeze(-1)
    return _asinh_scaled(((1 + shrunk) * (z.p @ z_hat.T) - (1 - shrunk) * cosh) / 2, rho)


def _square_of_half_sine(u_hat: Tensor, z_hat: Tensor) -> Tensor:
    """sin²(θ/2) of all pairs, (..., M): of small angles by the difference of the directions, which has their digits.

    Under torch.compile and torch.func it is (1 − cos θ)/2 for all.
    """
    s = (1 - u_hat @ z_hat.T) / 2
    if torch.compiler.is_compiling() or checks.transformed(s):
        return s
    rows, flat = u_hat.reshape(-1, u_hat.shape[-1]), s.reshape(-1, len(z_hat))
    for i, j in entries(flat.detach() < _NEAR, rows.shape[1]):
        flat = flat.index_put((i, j), (rows[i] - z_hat[j]).square().sum(-1) / 4)
    return flat.reshape(s.shape)


def _asinh_of_sine(A: Tensor, rho: Tensor, radius: Tensor, height: Tensor, s: Tensor, root: Tensor) -> Tensor:
    """asinh(sinh A cosh ρ cos θ − cosh A sinh ρ) for ρ ≥ 0, from both forms with their growth e^g taken out.

    The height is ⟨u, ẑ⟩, radius · cos θ, which has a slope at the origin too.
    """
    apart, together = A - rho, A + rho
    shrunk_A, shrunk_rho = -torch.expm1(-2 * A), -torch.expm1(-2 * rho)
    there = radius > 0
    lever = torch.where(there, shrunk_A / torch.where(there, radius, 1.0), 4 * root)
    straight = (lever * height * (2 - shrunk_rho) - (2 - shrunk_A) * shrunk_rho) / 4
    growth = torch.maximum(apart.abs(), together + s.log()).detach()
    sinh_apart = torch.sign(apart) * -torch.expm1(-2 * apart.abs()) / 2 * torch.exp(apart.abs() - growth)
    bent = sinh_apart - shrunk_A * (2 - shrunk_rho) / 2 * s * torch.exp((together - growth).clamp(max=700.0))
    acute = s < 0.25
    return _asinh_scaled(torch.where(acute, bent, straight), torch.where(acute, growth, together))


def _asinh_scaled(x: Tensor, growth: Tensor) -> Tensor:
    """asinh(x e^g)."""
    near = growth < _FAR
    by_value = torch.asinh(x * torch.exp(torch.where(near, growth, 0.0)))
    away = ~near & (x != 0)
    by_logarithm = asinh_exp(torch.where(away, growth + torch.where(away, x, 1.0).abs().log(), 0.0))
    return torch.where(near, by_value, torch.where(away, torch.sign(x) * by_logarithm, 0.0))
