"""The Lorentz model: hyperbolic space as a sheet of the hyperboloid ⟨X, X⟩ = −1/c in Minkowski space.

    ⟨X, Y⟩ = −X₀Y₀ + Σ XᵢYᵢ,        X₀ = √(1/c + ‖X‖²),        d = arcosh(−c⟨X, Y⟩)/√c

A point is given by its D space components X alone; the time component X₀ follows. With A = 2√c‖u‖, its distance from
the origin at unit curvature, X = sinh(A) û/√c: entries grow as e^A, and float32 ends near A = 88, float64 near A = 709.

The distance falls as the product grows, and the product is an ordinary inner product once a sign is flipped: any
maximum-inner-product index searches this space. Only near the centre, though: products lie between X₀Y₀ and 1/c, and
what is much less than the former is lost in rounding. An index that multiplies in float32 ranks well for A ≤ 4; at A
= 6 a distance of 0.3 reads 0.32, at A = 9 it reads 0. `pairwise_inner` multiplies in float64 and ranks as `dist`
does, but for what a float32 cannot tell apart, for A ≤ 8. For the same reason distances are not taken from the
product, but from the law of cosines (see `geomdml.tangent`): they keep their digits at any radius.

`c` > 0 is the absolute curvature: a number, a 0-d tensor, or a tensor (..., 1) that broadcasts to the points, such as
one for each head. Gradients flow through it. Formulas: Nickel and Kiela, "Learning continuous hierarchies in the
Lorentz model of hyperbolic geometry" (2018), section 3.

A tangent vector at a point is given as in `geomdml.tangent`: by the vector at the origin that is carried to it along
the geodesic from the origin, half as long as the way that it leads. Its components in the ambient Minkowski space
would be e^A times as long along the ray of the point as across, and lose there what is across.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from geomdml import poincare
from geomdml._core import all_pairs as pairs
from geomdml._core import checks, formulas, one_to_one, polar
from geomdml._core.autograd import differentiable, smooth, tell_apart
from geomdml._core.batches import over_batches
from geomdml._core.charts import LORENTZ, TANGENT
from geomdml._core.checks import Numbers
from geomdml._core.curvatures import Curvature, for_each_curvature
from geomdml._core.exact import boundary_gap, chord, round_inside
from geomdml._core.numerics import TensorOptions, curvature, direction, log_cosh, log_sinh, norm, result_form, wide
from geomdml._core.series import asinh_ratio, sinh_ratio

__all__ = [
    "dist",
    "expmap",
    "from_ball",
    "from_tangent",
    "geodesic",
    "inner",
    "logmap",
    "midpoint",
    "mobius_add",
    "pairwise_dist",
    "pairwise_inner",
    "to_ball",
    "to_tangent",
]


def __dir__() -> list[str]:
    return __all__


@for_each_curvature("numbers", degree=2)
def inner(X: Float[Tensor, "*#batch D"], Y: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch"]:
    """The Lorentz product ⟨X, Y⟩ = −X₀Y₀ + Σ XᵢYᵢ, at most −1/c.

    Args: X, Y, c: as for `dist`.

    Returns:
        (...) products, at least float32; −inf beyond the largest float. They are −cosh(√c·d)/c with the distance d, for
        the two terms of the definition cancel: −c⟨X, X⟩ = 1 at any radius.

    Raises: ValueError, TypeError: as `dist`.

    Source: Nickel and Kiela (2018) section 3.

    >>> X = torch.tensor([3.0, 4.0])
    >>> float(inner(X, X, c=1.0)), float(inner(X, torch.zeros(2), c=1.0))  # −1, −X₀
    (-1.0, -5.099019527435303)
    """
    c64 = checks.curved(c, X=X, Y=Y)
    checks.finite(X=X, Y=Y)
    return differentiable(_product, _product_gradient, _product_formula, *_pair(X, Y), c64).to(**result_form(X, Y))


@for_each_curvature("pairs", degree=2)
@over_batches
def pairwise_inner(
    X: Float[Tensor, "*#batch B D"], Y: Float[Tensor, "*#batch P D"], *, c: Curvature
) -> Float[Tensor, "*#batch B P"]:
    """All Lorentz products between two lists of points, by one matrix product in float64.

    Args: X, Y, c: as of `pairwise_dist`.

    Returns:
        (..., B, P) products, at least float32. Their error is 1e-16 X₀Y₀: for A ≤ 8 they rank as distances do, to the
        digits of float32; see the module's docstring.

    Raises: ValueError, TypeError: as `dist`.

    Source: as `inner`.

    >>> X = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    >>> pairwise_inner(X, X, c=1.0)
    tensor([[-1.0000, -5.0990],
            [-5.0990, -1.0000]])
    """
    checks.rows(X=X, Y=Y)
    checks.positive(c=c)
    checks.finite(X=X, Y=Y)
    c64, X64, Y64 = curvature(c, X), wide(X), wide(Y)
    X0, Y0 = (_cosh(Z, c64) / c64.sqrt() for Z in (X64, Y64))
    return torch.addmm(-X0 * Y0.T, X64, Y64.T).to(**result_form(X, Y))


@for_each_curvature("numbers")
def dist(X: Float[Tensor, "*#batch D"], Y: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch"]:
    """Hyperbolic distance arcosh(−c⟨X, Y⟩)/√c, without that formula's loss of digits.

    Args:
        X, Y: (..., D) space components of points; leading dimensions broadcast.
        c: absolute curvature, > 0.

    Returns:
        (...) distances, at least float32. Equal points are at exactly 0; the gradient there is 0. As c → 0 the distance
        tends to ‖X − Y‖.

    Raises:
        ValueError, TypeError: shapes that do not match, dtypes that are not real floating point, c ≤ 0, NaN.

    Source: the hyperbolic law of cosines, as in `geomdml.tangent`, with sinh A = √c‖X‖ and sinh B = √c‖Y‖.

    >>> X = torch.tensor([3.0, 4.0])
    >>> dist(X, torch.zeros(2), c=1.0)  # asinh 5
    tensor(2.3124)
    """
    c64 = checks.curved(c, X=X, Y=Y)
    checks.finite(X=X, Y=Y)
    return _one_to_one(X, Y, c64)


@for_each_curvature("pairs")
@over_batches
def pairwise_dist(
    X: Float[Tensor, "*#batch B D"], Y: Float[Tensor, "*#batch P D"], *, c: Curvature
) -> Float[Tensor, "*#batch B P"]:
    """The `dist` of all pairs of two lists of points, in O(B·P) memory.

    Args: X, Y, c: as for `dist`, but X and Y are (..., B, D) and (..., P, D).

    Returns: (..., B, P) distances, at least float32.

    Raises: ValueError, TypeError: as `dist`. Source: as `dist`.

    >>> X, origin = torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)
    >>> pairwise_dist(X, origin, c=1.0)
    tensor([[2.3124]])
    """
    checks.rows(X=X, Y=Y)
    checks.positive(c=c)
    checks.finite(X=X, Y=Y)
    return _all_distances(X, Y, curvature(c, X))


@for_each_curvature("vectors")
def mobius_add(
    X: Float[Tensor, "*#batch D"], Y: Float[Tensor, "*#batch D"], *, c: Curvature
) -> Float[Tensor, "*#batch D"]:
    """Translation X ⊕ Y: the point Y under the Lorentz boost that takes the origin to X.

    Args: X, Y, c: as for `dist`.

    Returns:
        (..., D) space components, at least float32, and at most as long as those of `from_tangent`; exactly 0 where
        Y = −X.

    Raises: ValueError, TypeError: as `dist`.

    Source: Y + √c (Y₀ + √c⟨X, Y⟩/(1 + √c X₀)) X, the boost; computed by the triangle of the origin, X and X ⊕ Y.

    >>> X = torch.tensor([3.0, 4.0])
    >>> mobius_add(X, torch.zeros(2), c=1.0), mobius_add(-X, X, c=1.0)
    (tensor([3., 4.]), tensor([0., 0.]))
    """
    c64 = checks.curved(c, X=X, Y=Y)
    checks.finite(X=X, Y=Y)
    return _in_range(polar.translate(X, Y, c64, *[LORENTZ] * 3), c64, result_form(X, Y))


@for_each_curvature("vectors")
def expmap(X: Float[Tensor, "*#batch D"], v: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch D"]:
    """exp_X(v): the point reached from X along the tangent vector v at X; its distance from X is 2‖v‖.

    Args:
        X, c: as for `dist`.
        v: as of `geomdml.tangent.expmap`.

    Returns:
        (..., D) space components, at least float32, and at most as long as those of `from_tangent`: X ⊕ exp_0(v).
        Where v leads back to the origin, X and the way along v cancel: the error there is 1e-14 ‖X‖.

    Raises: ValueError, TypeError: as `dist`.

    Source: as `geomdml.tangent.expmap`.

    >>> expmap(torch.tensor([3.0, 4.0]), torch.zeros(2), c=1.0)
    tensor([3., 4.])
    """
    c64 = checks.curved(c, X=X, v=v)
    checks.finite(X=X, v=v)
    return _in_range(polar.translate(X, v, c64, LORENTZ, TANGENT, LORENTZ), c64, result_form(X, v))


@for_each_curvature("vectors")
def logmap(X: Float[Tensor, "*#batch D"], Y: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch D"]:
    """log_X(Y), the tangent vector at X that leads to Y: the inverse of `expmap`, of length ‖·‖ = d(X, Y)/2.

    Args: X, Y, c: as for `dist`.

    Returns:
        (..., D) tangent vectors at X, carried back to the origin, at least float32; exactly 0 where Y = X.

    Raises: ValueError, TypeError: as `dist`.

    Source: log_0((−X) ⊕ Y), as `expmap`.

    >>> logmap(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.0]), c=1.0)
    tensor([0., 0.])
    """
    c64 = checks.curved(c, X=X, Y=Y)
    checks.finite(X=X, Y=Y)
    v = polar.translate(-X, Y, c64, LORENTZ, LORENTZ, TANGENT)
    return v.to(**result_form(X, Y))


@for_each_curvature("vectors")
def geodesic(
    X: Float[Tensor, "*#batch D"], Y: Float[Tensor, "*#batch D"], t: Numbers, *, c: Curvature
) -> Float[Tensor, "*#batch D"]:
    """The point at t·d(X, Y) from X on the geodesic through X, at t = 0, and Y, at t = 1.

    Args:
        X, Y, c: as for `dist`.
        t: as of `geomdml.tangent.geodesic`.

    Returns:
        (..., D) space components, at least float32, and at most as long as those of `from_tangent`. Where the geodesic
        passes the origin, the error is 1e-14 of ‖X‖ or ‖Y‖.

    Raises: ValueError, TypeError: as `dist`; t not finite.

    Source: (sinh((1 − t)δ) X + sinh(tδ) Y)/sinh δ, δ = √c d(X, Y), walked from the nearer end.

    >>> X = torch.tensor([3.0, 4.0])
    >>> geodesic(X, -X, torch.tensor([0.0, 0.5]), c=1.0)
    tensor([[3., 4.],
            [0., 0.]])
    """
    c64 = checks.curved(c, X=X, Y=Y)
    checks.numbers(torch.broadcast_shapes(X.shape, Y.shape)[:-1], t=t)
    checks.finite(X=X, Y=Y)
    return _in_range(polar.geodesic(X, Y, t, c64, LORENTZ), c64, result_form(X, Y))


@for_each_curvature("vectors", of_lists=True)
def midpoint(
    X: Float[Tensor, "*#batch N D"], weights: Float[Tensor, "*#batch N"] | None = None, *, c: Curvature
) -> Float[Tensor, "*#batch D"]:
    """The centroid of N points: their weighted sum, brought back to the hyperboloid.

    Args:
        X: (..., N, D) space components of points.
        weights, c: as of `geomdml.poincare.midpoint`.

    Returns:
        (..., D) space components, at least float32. Where points cancel, the error is 1e-14 of the longest of them.

    Raises: ValueError, TypeError: as `dist`; weights that cannot be.

    Source: as `geomdml.poincare.midpoint`, which it is in this chart.

    >>> X = torch.tensor([[3.0, 4.0], [3.0, 4.0], [-3.0, -4.0]])
    >>> midpoint(X, torch.tensor([1.0, 1.0, 0.0]), c=1.0)
    tensor([3., 4.])
    """
    c64 = checks.curved(c, X=X)
    weights = checks.weights(weights, X=X)
    checks.finite(X=X)
    return _in_range(polar.midpoint(X, weights, c64, LORENTZ), c64, result_form(X))


@for_each_curvature("vectors")
def from_tangent(u: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch D"]:
    """The point sinh(2√c‖u‖) û/√c of the tangent vector u at the origin.

    Args:
        u: (..., D) tangent vectors at the origin.
        c: absolute curvature, > 0.

    Returns:
        (..., D) space components, at least float32. Where ‖X‖ or √c‖X‖ would pass 0.9 of the range of the dtype (its
        largest float to the power 0.9; at c = 1 that is A = 80 in float32, A = 639 in float64) the point stops there,
        on the ray of u: the rest of the range is for the gradients.

    Raises:
        ValueError, TypeError: a dtype that is not real floating point, c ≤ 0, NaN.

    Source: the exponential map at the origin, Nickel and Kiela (2018) section 3, of the vector 2u.

    >>> from_tangent(torch.tensor([0.5, 0.0]), c=1.0)  # sinh 1
    tensor([1.1752, 0.0000])
    """
    c64 = checks.curved(c, u=u)
    checks.finite(u=u)
    form, u64 = result_form(u), wide(u)
    farthest = torch.asinh(c64.detach().sqrt().clamp(max=1.0) * torch.finfo(form["dtype"]).max ** 0.9)
    A = 2 * c64.sqrt() * norm(u64)
    short = farthest / A.clamp(min=farthest)  # 1 but for points too far out
    return (2 * sinh_ratio(short * A) * short * u64).to(**form)


@for_each_curvature("vectors")
def to_tangent(X: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch D"]:
    """The tangent vector at the origin of a point, asinh(√c‖X‖) X̂/(2√c): the inverse of `from_tangent`.

    Args: X, c: as for `dist`.

    Returns:
        (..., D) tangent vectors at the origin, at least float32.

    Raises: ValueError, TypeError: as `from_tangent`. Source: as `from_tangent`.

    >>> to_tangent(torch.tensor([1.1752, 0.0000]), c=1.0)
    tensor([0.5000, 0.0000])
    """
    c64 = checks.curved(c, X=X)
    checks.finite(X=X)
    X64 = wide(X)
    return (asinh_ratio(c64.sqrt() * norm(X64)) * X64 / 2).to(**result_form(X))


@for_each_curvature("vectors")
def from_ball(x: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch D"]:
    """The point 2x/(1 − c‖x‖²) of a point x of the Poincaré ball.

    Args:
        x: (..., D) points inside the ball.
        c: absolute curvature, > 0.

    Returns:
        (..., D) space components, at least float32.

    Raises:
        ValueError, TypeError: a point outside the ball, a dtype that is not real floating point, c ≤ 0.

    Source: stereographic projection, Nickel and Kiela (2018) section 3.

    >>> from_ball(torch.tensor([0.5, 0.0]), c=1.0)
    tensor([1.3333, 0.0000])
    """
    c64 = checks.curved(c, x=x)
    poincare.inside(c, x=x)
    return (2 * wide(x) / boundary_gap(wide(x), c64)).to(**result_form(x))


@for_each_curvature("points of the ball")
def to_ball(X: Float[Tensor, "*#batch D"], *, c: Curvature) -> Float[Tensor, "*#batch D"]:
    """The point X/(1 + √(1 + c‖X‖²)) of the Poincaré ball, at most the last float inside: the inverse of `from_ball`.

    Args: X, c: as for `dist`.

    Returns:
        (..., D) points of the ball, at least float32.

    Raises: ValueError, TypeError: as `dist`. Source: as `from_ball`.

    >>> to_ball(torch.tensor([1.3333, 0.0000]), c=1.0)
    tensor([0.5000, 0.0000])
    """
    c64 = checks.curved(c, X=X)
    checks.finite(X=X)
    x = smooth(_stereographic, _stereographic_gradient, wide(X), c64)
    return round_inside(x, c64, result_form(X))


def _in_range(X: Tensor, c: Tensor, form: TensorOptions) -> Tensor:
    """X in its final dtype; what that cannot hold stops where `from_tangent` does, on the ray of X."""
    farthest = torch.finfo(form["dtype"]).max ** 0.9 / c.detach().sqrt().clamp(min=1.0)
    return (X * (farthest / norm(X).clamp(min=farthest))).to(**form)


def _stereographic(X: Tensor, c: Tensor) -> Tensor:
    return X / (1 + _cosh(X, c))


def _stereographic_gradient(grad: Tensor, X: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Across X the slope is 1/(1 + cosh A), along X the cosh A-th part of that: a difference of terms that cancels."""
    X_hat, length = direction(X)
    cosh = _cosh(X, c)
    along = (grad * X_hat).sum(-1, keepdim=True)
    by_X = (grad - along * X_hat + along / cosh * X_hat) / (1 + cosh)
    return by_X, -(along * (length / (1 + cosh)) ** 2 * (length / cosh)).sum() / 2


def _cosh(X: Tensor, c: Tensor) -> Tensor:
    """cosh A = √(1 + c‖X‖²), kept."""
    sinh = c.sqrt() * norm(X)
    far = sinh > 1e8  # there both are the same float; the squares may overflow
    near = (1 + c * torch.where(far, 0.0, X).square().sum(-1, keepdim=True)).sqrt()
    return torch.where(far, sinh, near)


def _pair(X: Tensor, Y: Tensor) -> tuple[Tensor, Tensor]:
    X, Y = torch.broadcast_tensors(wide(X), wide(Y))
    return tell_apart(X, Y)


def _product(X: Tensor, Y: Tensor, c: Tensor) -> Tensor:
    return -torch.cosh(c.sqrt() * _value(X, Y, c)) / c


def _product_gradient(grad: Tensor, X: Tensor, Y: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of −⟨X, Y⟩ the slope by d is sinh(√c d)/√c, and by c at equal d it is (δ sinh δ/2 − cosh δ)/c²."""
    side = polar.third_side(X, Y, c, LORENTZ)
    delta = side[0]
    by_X, by_Y, by_c = _gradient_of_side(-grad * delta.sinh() / c.sqrt(), side, X, Y, c)
    return by_X, by_Y, by_c - (grad * (delta * delta.sinh() / 2 - delta.cosh())).sum() / c**2


def _product_formula(X: Tensor, Y: Tensor, c: Tensor) -> Tensor:
    X0, Y0 = (_cosh(Z, c).squeeze(-1) for Z in (X, Y))
    product = (X * Y).sum(-1) - X0 * Y0 / c  # whose derivatives have their digits, but not itself
    return product + (_product(X, Y, c) - product).detach()


def _value(X: Tensor, Y: Tensor, c: Tensor) -> Tensor:
    """Distances one to one, of float64 points."""
    return polar.third_side(X, Y, c, LORENTZ)[0] / c.sqrt()


def _gradient(grad: Tensor, X: Tensor, Y: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of `_value`: ∂d/∂X = (sinh(A − B)/cosh A · X̂ + sinh B (X̂ − Ŷ))/sinh δ, where nothing cancels."""
    return _gradient_of_side(grad, polar.third_side(X, Y, c, LORENTZ), X, Y, c)


def _gradient_of_side(
    grad: Tensor, side: tuple[Tensor, ...], X: Tensor, Y: Tensor, c: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    delta, A, B, apart, sine = side
    log_sine = sine.log()
    (X_hat, _), (Y_hat, _) = direction(X), direction(Y)
    grad = torch.where(delta > 0, grad, 0.0)  # the sub-gradient 0 at duplicates
    delta = torch.where(delta > 0, delta, 1.0)
    log_sinh_delta = log_sinh(delta)
    log_radial = log_sinh(apart.abs()) - log_sinh_delta
    aside = log_sine > -torch.inf  # on one ray there is nothing to turn towards

    def by_point(sign: Tensor, C: Tensor, other: Tensor, unit: Tensor, towards: Tensor) -> Tensor:
        radial = sign * torch.exp(log_radial - log_cosh(C))
        turn = aside * torch.exp((log_sinh(other) - log_sinh_delta).clamp(max=700.0))
        return (grad * radial).unsqueeze(-1) * unit + (grad * turn).unsqueeze(-1) * towards

    # ∂d/∂c at fixed X and Y: three terms, which cancel for points near the origin, to the series there.
    stretch = torch.exp(log_sinh(apart.abs()) + log_radial - log_cosh(A) - log_cosh(B))
    growth = stretch + 4 * torch.exp(log_sinh(A) + log_sinh(B) + 2 * log_sine - log_sinh_delta) - delta
    series = -(delta**3) / 12 - (apart * (A + B)) ** 2 / (4 * delta)
    by_c = (grad * torch.where(torch.maximum(A, B) < 1e-4, series, growth)).sum() / (2 * c**1.5)
    sign = torch.sign(apart)
    return by_point(sign, A, B, X_hat, chord(X, Y)), by_point(-sign, B, A, Y_hat, chord(Y, X)), by_c


def _rows(X: Tensor, c: Tensor) -> pairs.Rows:
    unit, length = direction(wide(X))  # ‖X‖² may be too large for a float64
    A = torch.asinh(c.sqrt() * length)
    return pairs.Rows(unit, length, A, stretch=c.sqrt() / A.cosh(), growth=A.tanh())


_all_distances = pairs.operator("lorentz", pairs.ChartKernel(_rows, _value, _gradient, formulas.lorentz_dist))


def _halves(length: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    sinh = c.sqrt() * length
    cosh = ((1 + (1 + sinh * sinh).sqrt_()) / 2).sqrt_()
    return sinh / (2 * cosh), cosh


def _slopes(length: Tensor, c: Tensor, half_sinh: Tensor, half_cosh: Tensor) -> tuple[Tensor, Tensor]:
    cosh = 1 + 2 * half_sinh**2
    return c.sqrt() / cosh, 2 * half_sinh * half_cosh / cosh


_one_to_one = one_to_one.operator(
    "lorentz", one_to_one.ChartKernel(_halves, _slopes, _value, _gradient, formulas.lorentz_dist)
)
