"""Tangent vectors of the hyperboloid by their components in Minkowski space, and what is asked of them at a point.

The library keeps a tangent vector at X by the vector w at the origin that is carried to it along the geodesic from the
origin (`geomdml.lorentz`). Its own components are w + (cosh A − 1)⟨X̂, w⟩X̂ in space, and in time what makes it tangent:
along the ray of X they are cosh A times as long, and all but those across are lost in their rounding. So a vector is
taken by its space components, as a point is; nothing here subtracts the large from the large.

All is float64, vectors are (..., D), and X and Y are the space components of points.
"""

import torch
from torch import Tensor

from geomdml._core.exact import across, chord
from geomdml._core.numerics import direction, log_cosh, norm

_ROUNDINGS = 16.0  # of a dtype, within which a vector is tangent but for its rounding


def time(X: Tensor, c: Tensor) -> Tensor:
    """X₀ = √(1/c + ‖X‖²), kept."""
    return torch.hypot(c.rsqrt().expand_as(X[..., :1]), norm(X))


def time_of_tangent(X: Tensor, u: Tensor, c: Tensor) -> Tensor:
    """The time component that makes u a tangent vector at X, kept."""
    X_hat, length = direction(X)
    return length / time(X, c) * (X_hat * u).sum(-1, keepdim=True)


def product(u: Tensor, v: Tensor) -> Tensor:
    """The Lorentz product −u₀v₀ + Σ uᵢvᵢ of (..., 1 + D) vectors, kept."""
    return (u[..., 1:] * v[..., 1:]).sum(-1, keepdim=True) - u[..., :1] * v[..., :1]


def is_tangent(X: Tensor, u: Tensor, c: Tensor, eps: float) -> Tensor:
    """Whether (..., 1 + D) vectors are tangent at X but for the rounding of numbers with this `eps`; kept."""
    X = torch.cat([time(X, c), X], -1)
    terms = X[..., :1] * u[..., :1].abs() + norm(X[..., 1:]) * norm(u[..., 1:])
    return product(X, u).abs() <= _ROUNDINGS * eps * terms


def project(X: Tensor, u: Tensor, c: Tensor, eps: float) -> Tensor:
    """Space components of u + c⟨X, u⟩X, what of (..., 1 + D) vectors is tangent at X; of tangent ones their own.

    Of a tangent vector the product ⟨X, u⟩ is nothing but rounding, and X so long that it would be seen.
    """
    at_X = c * product(torch.cat([time(X, c), X], -1), u)
    return torch.where(is_tangent(X, u, c, eps), 0.0, at_X) * X + u[..., 1:]


def to_origin(X: Tensor, u: Tensor, c: Tensor) -> Tensor:
    """The vector at the origin that is carried to X as u: u across the ray of X, and cosh A times shorter along it."""
    X_hat, _ = direction(X)
    along = (X_hat * u).sum(-1, keepdim=True) * X_hat
    aside = u - along
    aside = aside + (across(X, u) - aside).detach()
    return torch.where((X != 0).any(-1, keepdim=True), aside + along / (c.sqrt() * time(X, c)), u)


def from_origin(X: Tensor, w: Tensor, c: Tensor) -> Tensor:
    """The inverse of `to_origin`."""
    X_hat, length = direction(X)
    growth = c.sqrt() * length * length / (c.rsqrt() + time(X, c))  # cosh A − 1
    return w + growth * (X_hat * w).sum(-1, keepdim=True) * X_hat


def turn(X: Tensor, Y: Tensor, w: Tensor, c: Tensor) -> Tensor:
    """The vector w, carried from the origin to X, from there to Y and back: gyr[Y, −X]w.

    A rotation in the plane of X and Y, by twice the argument of k + iω: with a = tanh(A/2), b = tanh(B/2) and θ the
    angle between X and Y, ω = ab sin θ and k = 1 − ab cos θ = cosh((A − B)/2)/(cosh(A/2) cosh(B/2)) + 2ab sin²(θ/2).
    """
    (X_hat, X_length), (Y_hat, Y_length) = direction(X), direction(Y)
    A, B = torch.asinh(c.sqrt() * X_length), torch.asinh(c.sqrt() * Y_length)
    ab = torch.tanh(A / 2) * torch.tanh(B / 2)
    aside = Y_hat - X_hat
    aside = aside + torch.where(ab > 0, chord(Y, X) - aside, 0.0).detach()
    square = (aside * aside).sum(-1, keepdim=True)  # 4 sin²(θ/2)
    k = torch.exp(log_cosh((A - B) / 2) - log_cosh(A / 2) - log_cosh(B / 2)) + ab * square / 2

    def omega(v: Tensor) -> Tensor:
        return ab * ((aside * v).sum(-1, keepdim=True) * X_hat - (X_hat * v).sum(-1, keepdim=True) * aside)

    turned = omega(w)
    return w + 2 * (k * turned + omega(turned)) / (k * k + ab * ab * square * (1 - square / 4))
