"""The laws of hyperbolic geometry, each a plain function of an implementation.

An implementation is a module, or any object, that has functions by the names and signatures of `geomdml.poincare`,
`geomdml.tangent` or `geomdml.lorentz`; `BALL`, `TANGENT`, `LORENTZ` and `EUCLIDEAN` list them. A law evaluates it on
the inputs given, returns the largest error that it found, and raises `Broken` (an `AssertionError`) with law, error,
bar and inputs where it does not hold. Errors are relative and norm-wise, against fifty digits; what should be 0 must
be exactly 0.

>>> import geomdml
>>> x, y = torch.tensor([0.3, 0.4]), torch.tensor([0.0, 0.9])
>>> is_exact(geomdml.poincare, BALL["dist"], x, y, c=1.0) < 2.4e-7
True
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from geomdml.testing import oracle
from geomdml.testing.primitives import BALL, EUCLIDEAN, LORENTZ, TANGENT, Primitive, relative_error

__all__ = [
    "BALL",
    "Broken",
    "EUCLIDEAN",
    "Error",
    "LENGTHS",
    "LORENTZ",
    "Primitive",
    "TANGENT",
    "all_pairs_are_exact",
    "boost_is_isometry",
    "charts_agree",
    "commutes_with_rotation",
    "exp_at_inverts_log_at",
    "exp_inverts_log",
    "geodesic_has_its_ends_and_speed",
    "gradcheck",
    "gradient_is_exact",
    "gradient_of",
    "gradients_are_finite",
    "gyration_rotates",
    "gyroassociativity",
    "gyrocommutativity",
    "has_flat_limit",
    "has_identity_and_inverse",
    "hold",
    "is_exact",
    "is_symmetric",
    "left_cancellation",
    "left_loop",
    "lies_on_hyperboloid",
    "log_at_inverts_exp_at",
    "log_inverts_exp",
    "log_is_as_long_as_the_way",
    "lorentz_agrees",
    "midpoint_is_in_the_middle",
    "product_ranks_as_distance",
    "projects_inside",
    "scalar_multiples_keep_the_line",
    "scalars_distribute",
    "scales_with_curvature",
    "stays_inside",
    "translation_is_an_isometry",
    "transport_is_an_isometry",
    "triangle_inequality",
]


class Error(float):
    """An error that a law found, and the `bar` that it was held to."""

    bar: float

    def __new__(cls, error: float, bar: float) -> "Error":
        self = super().__new__(cls, error)
        self.bar = bar
        return self


LENGTHS = ("point", "points", "vector", "vectors", "tangent")  # what scales and turns with space


class Broken(AssertionError):
    """A law does not hold: what was found, at which `vectors` and `c`, and by how much where that has a measure."""

    def __init__(self, law: str, what: str, vectors: Iterable[Any], c: Any, error: Error | None = None) -> None:
        self.law, self.what, self.vectors, self.c = law, what, tuple(vectors), c
        self.error = Error(math.inf, 0.0) if error is None else error
        inputs = "".join(f"\n  {x.dtype} {x.tolist()}" for x in self.vectors)
        super().__init__(f"{law}: {what}, at c = {c!r} and{inputs}")


def is_exact(implementation: Any, f: Primitive, *vectors: Tensor, c: float, bar: float | None = None) -> float:
    """The value is that of the fifty-digit reference."""
    error = relative_error(f(implementation, *vectors, c=c), f.reference(*vectors, c=c), f.cancelled(*vectors))
    return hold(f"{f.name} is exact", error, bar or f.bar(*vectors), vectors, c)


def all_pairs_are_exact(implementation: Any, f: Primitive, xs: Tensor, ys: Tensor, *, c: float) -> float:
    """(B, D) and (P, D) to (B, P), each entry that of the reference, the gradient the sum of those of the pairs."""
    xs, ys = xs.clone().requires_grad_(), ys.clone().requires_grad_()
    matrix = getattr(implementation, f.name)(xs, ys, c=c)
    if matrix.shape != (len(xs), len(ys)):
        raise Broken(f"{f.name} is (B, P)", f"shape {tuple(matrix.shape)}", (xs, ys), c)
    pairs = [(i, j, xs[i], ys[j]) for i in range(len(xs)) for j in range(len(ys))]
    error = max(
        hold(f"{f.name} is exact", relative_error(matrix[i, j], f.reference(x, y, c=c)), f.bar(x, y), (x, y), c)
        for i, j, x, y in ((i, j, x.detach(), y.detach()) for i, j, x, y in pairs)
    )
    together = torch.autograd.grad(matrix.sum(), (xs, ys))
    singly = [torch.autograd.grad(f(implementation, x, y, c=c), (xs, ys)) for _, _, x, y in pairs]
    for all_at_once, parts in zip(together, zip(*singly, strict=True), strict=True):
        largest = sum(float(part.norm()) for part in parts)
        gap = float((all_at_once - sum(parts)).norm()) / (largest or 1.0)
        error = max(error, hold(f"gradient of {f.name} adds up", gap, 2 * f.float32, (xs, ys), c))
    return error


def gradient_is_exact(implementation: Any, f: Primitive, *vectors: Tensor, c: float, bar: float = 1e-5) -> float:
    """The derivatives by each vector and by c are those of the reference, norm-wise, where the dtype can hold them.

    The derivative by c is a difference of terms as large as f/c, or as the points that f sums, over c, so it is asked
    for to twelve digits of those.
    """
    found = torch.autograd.functional.jacobian(
        lambda *inputs: f(implementation, *inputs[:-1], c=inputs[-1]), (*vectors, torch.tensor(c, dtype=torch.float64))
    )
    limits, worst = torch.finfo(vectors[0].dtype), 0.0
    terms = max(float(f(implementation, *vectors, c=c).norm()), f.largest(*vectors))
    for i, (derivative, columns) in enumerate(zip(found, f.reference.jacobian(*vectors, c=c), strict=True)):
        expected = [entry for row in zip(*columns, strict=True) for entry in row]
        size = float(oracle.norm(expected))
        by_c = i == len(vectors)
        if limits.tiny / limits.eps < size < limits.max:
            difference = oracle.norm(a - b for a, b in zip(oracle.exact(derivative.flatten()), expected, strict=True))
            scale = size + (1e-12 / bar * terms / c if by_c else 0.0)
            name = f"derivative of {f.name} by {'c' if by_c else f'input {i}'}"
            worst = max(worst, hold(name, float(difference) / scale, bar, vectors, c))
    return worst


def gradients_are_finite(implementation: Any, f: Primitive, *vectors: Tensor, c: float) -> float:
    """Wherever the points are, the gradients are numbers; those of a distance are 0 at duplicates."""
    inputs = [x.clone().requires_grad_() for x in vectors]
    curvature = torch.tensor(c, dtype=torch.float64, requires_grad=True)
    f(implementation, *inputs, c=curvature).sum().backward()
    gradients = [gradient_of(x) for x in (*inputs, curvature)]
    if not all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
        raise Broken(f"gradients of {f.name} are finite", f"found {gradients}", vectors, c)
    if "dist" in f.name and len(vectors) == 2 and torch.equal(*vectors) and any(bool(g.any()) for g in gradients):
        raise Broken(f"gradients of {f.name} are 0 at duplicates", f"found {gradients}", vectors, c)
    return 0.0


def gradcheck(implementation: Any, f: Primitive, *vectors: Tensor, c: float) -> float:
    """torch's own check, in float64, c included."""
    inputs = [x.double().requires_grad_() for x in (*vectors, torch.tensor(c))]
    try:
        torch.autograd.gradcheck(lambda *xs: f(implementation, *xs[:-1], c=xs[-1]), inputs, atol=1e-6, rtol=1e-5)
    except GradcheckError as error:
        raise Broken(f"gradcheck of {f.name}", str(error).splitlines()[0], vectors, c) from error
    return 0.0


def is_symmetric(implementation: Any, f: Primitive, x: Tensor, y: Tensor, *, c: float) -> float:
    """f(x, y) = f(y, x)."""
    error = relative_error(f(implementation, x, y, c=c), f(implementation, y, x, c=c))
    return hold(f"{f.name} is symmetric", error, 2 * f.bar(x, y), (x, y), c)


def triangle_inequality(implementation: Any, f: Primitive, x: Tensor, y: Tensor, z: Tensor, *, c: float) -> float:
    """d(x, z) ≤ d(x, y) + d(y, z), as far as distances that are right to their bar can tell."""
    xz, xy, yz = (float(f(implementation, *pair, c=c)) for pair in ((x, z), (x, y), (y, z)))
    excess = (xz - xy - yz) / (xz or 1.0)
    return hold(f"triangle inequality of {f.name}", excess, 2 * f.bar(x, y, z), (x, y, z), c)


def scales_with_curvature(implementation: Any, f: Primitive, *vectors: Tensor, c: float, exponent: int = 1) -> float:
    """d_{c/s²}(s x, s y) = s·d_c(x, y) and the like; s is a power of two, by which floats scale exactly."""
    s = 2.0**exponent
    longer = (s * x if kind in LENGTHS else x for x, kind in zip(vectors, f.kinds, strict=True))
    scaled = f(implementation, *longer, c=c / s**2) / s**f.degree
    value = f(implementation, *vectors, c=c)
    error = relative_error(scaled, value, 2 * f.cancelled(*vectors))
    return hold(f"{f.name} scales between curvatures", error, 2 * f.bar(*vectors), vectors, c)


def has_flat_limit(implementation: Any, f: Primitive, *vectors: Tensor, c: float) -> float:
    """As c → 0: 2‖x − y‖ for a distance, x + y for Möbius addition, the vector itself for the maps; to O(c‖x‖²).

    Where points are summed, of the longest of them.
    """
    if f.flat is None:
        raise TypeError(f"{f.name} has no flat limit on record")
    curved = 10 * c * sum(float(x.double().square().sum()) for x in vectors)
    flat = f.flat(*(x.double() for x in vectors))
    error = float((f(implementation, *vectors, c=c).double() - flat).norm())
    scale = max(float(flat.norm()), f.largest(*vectors)) or 1.0
    return hold(f"{f.name} as c → 0", error / scale, 2 * f.bar(*vectors) + curved, vectors, c)


def commutes_with_rotation(implementation: Any, f: Primitive, *vectors: Tensor, c: float, seed: int = 0) -> float:
    """Turned inputs give turned results, and the same distances; a signed permutation turns floats exactly."""
    rng = np.random.default_rng(seed)
    dim = next(x.shape[-1] for x, kind in zip(vectors, f.kinds, strict=True) if kind in LENGTHS)
    order, signs = torch.tensor(rng.permutation(dim)), torch.tensor(rng.choice([-1, 1], dim))
    value = f(implementation, *vectors, c=c)
    turns = (kind in (*LENGTHS, "matrix") for kind in f.kinds)  # the matrix turned back: M' x' = M x
    turned = (signs * x[..., order] if turn else x for x, turn in zip(vectors, turns, strict=True))
    expected = signs * value[order] if value.ndim and "matrix" not in f.kinds else value
    error = relative_error(f(implementation, *turned, c=c), expected, 2 * f.cancelled(*vectors))
    return hold(f"{f.name} under rotation", error, 2 * f.bar(*vectors), vectors, c)


def left_cancellation(ball: Any, x: Tensor, y: Tensor, *, c: float) -> float:
    """(−x) ⊕ (x ⊕ y) = y, but for the rounding of z = x ⊕ y, which the way back stretches by λ(z)/λ(y).

    Where the rounding moves z by more than a tenth of the unit of length, there is nothing to ask.
    """
    bar, z = 2 * BALL["mobius_add"].bar(x, y), ball.mobius_add(x, y, c=c)
    length, gap_y, gap_z = float(z.norm()), float(oracle.gap(y, c)), float(oracle.gap(z, c))
    if math.sqrt(c) * bar * length > 0.1 * gap_z:
        return 0.0
    error = float((ball.mobius_add(-x, z, c=c) - y).norm())
    scale = float(y.norm()) + 2 * length * gap_y / gap_z
    return hold("left cancellation", error / (scale or 1.0), bar, (x, y), c)


def _rounding(x: Tensor) -> float:
    """The largest relative error of a point of the ball that was computed and rounded."""
    return 2 * BALL["mobius_add"].bar(x)


def _moved(x: Tensor, c: float) -> float:
    """How far in hyperbolic space rounding moves a point of the ball."""
    return 2 * _rounding(x) * float(x.double().norm()) / float(oracle.gap(x, c))


def _same_point(law: str, x: Tensor, y: Tensor, far: float, vectors: Iterable[Tensor], c: float) -> float:
    """x and y are no farther apart than `far`; where that is a tenth of the unit of length, there is nothing to ask."""
    far = far + _moved(x, c) + _moved(y, c)
    return hold(law, float(oracle.dist(x, y, c=c)), far, vectors, c) if math.sqrt(c) * far < 0.1 else 0.0


def gyroassociativity(ball: Any, x: Tensor, y: Tensor, z: Tensor, *, c: float) -> float:
    """x ⊕ (y ⊕ z) = (x ⊕ y) ⊕ gyr[x, y]z; a change of x ⊕ y is stretched by cosh of the way on, below 2/gap."""
    xy, yz, turned = ball.mobius_add(x, y, c=c), ball.mobius_add(y, z, c=c), ball.gyration(x, y, z, c=c)
    turned = ball.project(turned, c=c)
    left, right = ball.mobius_add(x, yz, c=c), ball.mobius_add(xy, turned, c=c)
    far = _moved(yz, c) + _moved(turned, c) + 2 * _moved(xy, c) / float(oracle.gap(turned, c))
    return _same_point("gyroassociativity", left, right, far, (x, y, z), c)


def gyrocommutativity(ball: Any, x: Tensor, y: Tensor, *, c: float) -> float:
    """x ⊕ y = gyr[x, y] (y ⊕ x)."""
    turned = ball.gyration(x, y, ball.mobius_add(y, x, c=c), c=c)
    error = relative_error(turned, ball.mobius_add(x, y, c=c))
    return hold("gyrocommutativity", error, BALL["gyration"].bar(x) + 2 * _rounding(x), (x, y), c)


def left_loop(ball: Any, x: Tensor, y: Tensor, v: Tensor, *, c: float) -> float:
    """gyr[x ⊕ y, y] = gyr[x, y]: the angle is the area of a triangle, which changes no faster than its corners move."""
    z = ball.mobius_add(x, y, c=c)
    bar = 2 * BALL["gyration"].bar(x) + 2 * math.sqrt(c) * _moved(z, c)
    error = relative_error(ball.gyration(z, y, v, c=c), ball.gyration(x, y, v, c=c))
    return hold("left loop", error, bar, (x, y, v), c)


def gyration_rotates(ball: Any, x: Tensor, y: Tensor, u: Tensor, v: Tensor, *, c: float) -> float:
    """⟨gyr[x, y]u, gyr[x, y]v⟩ = ⟨u, v⟩, so lengths and angles stay; and gyr[y, x] turns back."""
    before = torch.stack([w / (float(w.norm()) or 1.0) for w in (u, v)])
    after = ball.gyration(x, y, before, c=c)
    products = [w.double() @ w.double().T for w in (before, after)]
    error = float((products[1] - products[0]).abs().max())
    back = float((ball.gyration(y, x, after, c=c) - before).norm())
    return hold("gyration is a rotation", max(error, back), 3 * BALL["gyration"].bar(x), (x, y, u, v), c)


def translation_is_an_isometry(ball: Any, x: Tensor, y: Tensor, z: Tensor, *, c: float) -> float:
    """d(z ⊕ x, z ⊕ y) = d(x, y)."""
    there = [ball.mobius_add(z, w, c=c) for w in (x, y)]
    far, length = sum(_moved(w, c) for w in there), float(ball.dist(x, y, c=c))
    if math.sqrt(c) * far > 0.1:
        return 0.0
    error = abs(float(ball.dist(*there, c=c)) - length)
    return hold("translation is an isometry", error, far + 2 * BALL["dist"].bar(x) * length, (x, y, z), c)


def scalars_distribute(ball: Any, r: float, s: float, x: Tensor, *, c: float) -> float:
    """(r + s) ⊗ x = r ⊗ x ⊕ s ⊗ x and (r s) ⊗ x = r ⊗ (s ⊗ x), for numbers whose sum and product are exact.

    A change of r ⊗ x is stretched by cosh of the way on; one of s ⊗ x, at D from the origin, by sinh(r D)/sinh D or r.
    """
    rx, sx = (ball.mobius_scalar_mul(k, x, c=c) for k in (r, s))
    far = 2 * _moved(rx, c) / float(oracle.gap(sx, c)) + _moved(sx, c)
    total = ball.mobius_scalar_mul(r + s, x, c=c)
    error = _same_point(f"{r} and {s} distribute", ball.mobius_add(rx, sx, c=c), total, far, (x,), c)
    D = math.sqrt(c) * float(ball.dist0(sx, c=c))
    stretch = max(abs(r), math.sinh(min(abs(r) * D, 300.0)) / math.sinh(D)) if D else abs(r)
    twice, once = ball.mobius_scalar_mul(r, sx, c=c), ball.mobius_scalar_mul(r * s, x, c=c)
    return max(error, _same_point(f"{r} and {s} associate", twice, once, _moved(sx, c) * stretch, (x,), c))


def scalar_multiples_keep_the_line(ball: Any, r: float, x: Tensor, *, c: float) -> float:
    """r ⊗ x lies on the ray of x, or its opposite, at r times the distance from the origin."""
    rx, d = ball.mobius_scalar_mul(r, x, c=c), float(ball.dist0(x, c=c))
    bar = BALL["mobius_scalar_mul"].bar(x)
    error = relative_error(rx.double() * x.double().norm(), math.copysign(1, r) * x.double() * rx.double().norm())
    hold(f"{r} ⊗ x is on the line of x", error, bar, (x,), c)
    if math.sqrt(c) * _moved(rx, c) > 0.1:
        return error
    apart = abs(float(ball.dist0(rx, c=c)) - abs(r) * d)
    return max(error, hold(f"‖{r} ⊗ x‖ = |{r}| ‖x‖", apart, _moved(rx, c) + 3 * bar * abs(r) * d, (x,), c))


def exp_at_inverts_log_at(ball: Any, x: Tensor, y: Tensor, *, c: float) -> float:
    """exp_x(log_x(y)) = y, but for the rounding of the vector: along it as far as it is long, across sinh of that."""
    v, d = ball.logmap(x, y, c=c), math.sqrt(c) * float(ball.dist(x, y, c=c))
    far = BALL["logmap"].bar(x) * (d + math.sinh(d)) / math.sqrt(c)
    return _same_point("exp at x inverts log at x", ball.expmap(x, v, c=c), y, far, (x, y), c)


def log_at_inverts_exp_at(ball: Any, x: Tensor, v: Tensor, *, c: float) -> float:
    """log_x(exp_x(v)) = v, but for the rounding of the point: log at x brings nothing farther apart."""
    y, stretch = ball.expmap(x, v, c=c), 2 / float(oracle.gap(x, c))
    far = _moved(y, c) + 2 * _rounding(x) * float(x.double().norm()) * stretch
    if math.sqrt(c) * far > 0.1:
        return 0.0
    error = stretch * float((ball.logmap(x, y, c=c).double() - v.double()).norm())
    bar = 2 * BALL["expmap"].bar(x) * stretch * float(v.double().norm())
    return hold("log at x inverts exp at x", error, far + bar, (x, v), c)


def log_is_as_long_as_the_way(ball: Any, x: Tensor, y: Tensor, *, c: float) -> float:
    """λ_x‖log_x(y)‖ = d(x, y)."""
    length = 2 / float(oracle.gap(x, c)) * ball.logmap(x, y, c=c).double().norm()
    error = relative_error(length, ball.dist(x, y, c=c))
    return hold("λ_x‖log_x(y)‖ = d(x, y)", error, 2 * BALL["logmap"].bar(x), (x, y), c)


def geodesic_has_its_ends_and_speed(ball: Any, x: Tensor, y: Tensor, t: float, *, c: float) -> float:
    """γ(0) = x, γ(1) = y, and γ(t) is at |t| d(x, y) from x and |1 − t| d(x, y) from y."""
    bar = BALL["geodesic"].bar(x)
    ends = zip((0.0, 1.0), (x, y), strict=True)
    error = max(relative_error(ball.geodesic(x, y, end, c=c), point) for end, point in ends)
    hold("ends of a geodesic", error, bar, (x, y), c)
    z, d = ball.geodesic(x, y, t, c=c), float(ball.dist(x, y, c=c))
    if math.sqrt(c) * _moved(z, c) > 0.1:
        return error
    for point, share in ((x, abs(t)), (y, abs(1 - t))):
        apart = abs(float(ball.dist(point, z, c=c)) - share * d)
        error = max(error, hold(f"speed of a geodesic at {t}", apart, 2 * _moved(z, c) + bar * share * d, (x, y), c))
    return error


def transport_is_an_isometry(ball: Any, x: Tensor, y: Tensor, v: Tensor, *, c: float) -> float:
    """λ_y‖P v‖ = λ_x‖v‖; the way back undoes it; from the origin, P v = (1 − c‖y‖²) v; and P log_x(y) = −log_y(x)."""
    bar, zero = BALL["parallel_transport"].bar(x), torch.zeros_like(x)
    there = ball.parallel_transport(x, y, v, c=c)
    gap_x, gap_y = float(oracle.gap(x, c)), float(oracle.gap(y, c))
    pairs = {
        "length": (there.double().norm() / gap_y, v.double().norm() / gap_x),
        "way back": (ball.parallel_transport(y, x, there, c=c), v),
        "from the origin": (ball.parallel_transport(zero, y, v, c=c), gap_y * v.double()),
        "tangent": (ball.parallel_transport(x, y, ball.logmap(x, y, c=c), c=c), -ball.logmap(y, x, c=c)),
    }
    held = (hold(f"parallel transport, {k}", relative_error(*p), 3 * bar, (x, y, v), c) for k, p in pairs.items())
    return max(held)


def midpoint_is_in_the_middle(ball: Any, x: Tensor, y: Tensor, z: Tensor, *, c: float) -> float:
    """Of two points: on their geodesic, as far from either. Of more: whatever their order, and wherever they are moved.

    A point that moves takes the midpoint of several with it by no more than its own way.
    """
    middle, f = ball.midpoint(torch.stack([x, y]), c=c), BALL["midpoint"]
    half = ball.geodesic(x, y, 0.5, c=c)
    error = relative_error(middle, half, 2 * f.cancelled(torch.stack([x, y]), x))
    error = hold("midpoint of two is γ(1/2)", error, 2 * f.bar(x), (x, y), c)
    far, (to_x, to_y) = 2 * _moved(middle, c), (float(ball.dist(middle, w, c=c)) for w in (x, y))
    if math.sqrt(c) * far < 0.1:
        bar = far + 2 * BALL["dist"].bar(x) * to_x
        error = max(error, hold("midpoint is equally far from both", abs(to_x - to_y), bar, (x, y), c))
    points, weights = torch.stack([x, y, -x / 2]), torch.tensor([1.0, 2.0, 3.0], dtype=x.dtype)
    middle = ball.midpoint(points, weights, c=c)
    turned = ball.midpoint(points.flip(0), weights.flip(0), c=c)
    error = max(error, _same_point("midpoint in any order", turned, middle, 0.0, (x, y), c))
    moved = ball.mobius_add(z, points, c=c)
    far = max(_moved(w, c) for w in moved) + _moved(middle, c)
    there, found = ball.mobius_add(z, middle, c=c), ball.midpoint(moved, weights, c=c)
    return max(error, _same_point("midpoint moves along", found, there, far, (x, y, z), c))


def has_identity_and_inverse(ball: Any, x: Tensor, *, c: float) -> float:
    """0 ⊕ x = x ⊕ 0 = x, and (−x) ⊕ x = 0 exactly."""
    bar, zero = BALL["mobius_add"].bar(x), torch.zeros_like(x)
    cases = {"0 ⊕ x = x": (zero, x, x), "x ⊕ 0 = x": (x, zero, x), "(−x) ⊕ x = 0": (-x, x, zero)}
    errors = {name: relative_error(ball.mobius_add(a, b, c=c), value) for name, (a, b, value) in cases.items()}
    return max(hold(name, error, bar, (x,), c) for name, error in errors.items())


def stays_inside(ball: Any, f: Primitive, *vectors: Tensor, c: float) -> float:
    """What lies in the ball lies there after rounding too."""
    value = f(ball, *vectors, c=c)
    if oracle.gap(value, c) <= 0:
        raise Broken(f"{f.name} stays inside", f"found {value.tolist()}", vectors, c)
    return 0.0


def exp_inverts_log(ball: Any, x: Tensor, *, c: float) -> float:
    """exp_0(log_0(x)) = x, up to the last float inside the ball."""
    error = relative_error(ball.expmap0(ball.logmap0(x, c=c), c=c), x)
    return hold("exp inverts log", error, 2 * BALL["expmap0"].bar(x), (x,), c)


def log_inverts_exp(ball: Any, v: Tensor, *, c: float) -> float:
    """log_0(exp_0(v)) = v, but for the rounding of the point, which log stretches by sinh(2z)/2z, z = √c‖v‖."""
    z = math.sqrt(c) * float(v.double().norm())
    stretch = math.sinh(2 * z) / (2 * z) if z else 1.0
    error = relative_error(ball.logmap0(ball.expmap0(v, c=c), c=c), v)
    return hold("log inverts exp", error, BALL["expmap0"].bar(v) * (1 + 2 * stretch), (v,), c)


def projects_inside(ball: Any, x: Tensor, *, c: float) -> float:
    """What `project` returns lies inside, on the ray of x; a point that is inside already comes back as it is."""
    inside = ball.project(x, c=c)
    if oracle.gap(inside, c) <= 0:
        raise Broken("project gives points inside", f"found {inside.tolist()}", (x,), c)
    if oracle.gap(x, c) > 0 and not torch.equal(inside, x):
        raise Broken("project leaves points inside as they are", f"found {inside.tolist()}", (x,), c)
    length = x.double().norm()
    error = relative_error(inside.double() * length, x.double() * inside.double().norm())
    return hold("project keeps the direction", error, BALL["expmap0"].bar(x), (x,), c)


def charts_agree(ball: Any, tangent: Any, u: Tensor, v: Tensor, *, c: float) -> float:
    """Distances are the same in both charts, but for the rounding of the points of the ball, stretched by λ."""
    x, y = (tangent.to_ball(w, c=c) for w in (u, v))
    moved = sum(4 * float(z.norm()) / float(oracle.gap(z, c)) for z in (x, y)) * TANGENT["to_ball"].bar(u, v)
    expected = float(tangent.dist(u, v, c=c))
    scale = moved + TANGENT["dist"].bar(u, v) * expected
    error = abs(float(ball.dist(x, y, c=c)) - expected)
    return hold("charts agree, in roundings", error / (scale or 1.0), 1.0, (u, v), c)


def lorentz_agrees(lorentz: Any, tangent: Any, u: Tensor, v: Tensor, *, c: float) -> float:
    """Distances in the Lorentz model are those of the tangent chart, but for the rounding of its points.

    A rounding moves X by a share of ‖X‖, and across the ray of X the space is as long as the numbers say.
    """
    X, Y = (lorentz.from_tangent(w, c=c) for w in (u, v))
    expected = float(tangent.dist(u, v, c=c))
    allowed = LORENTZ["from_tangent"].bar(u, v) * _lengths(X, Y) + LORENTZ["dist"].bar(u, v) * expected
    error = abs(float(lorentz.dist(X, Y, c=c)) - expected)
    return hold("the Lorentz model agrees, in roundings", error / (allowed or 1.0), 1.0, (u, v), c)


def boost_is_isometry(lorentz: Any, X: Tensor, Y: Tensor, V: Tensor, *, c: float) -> float:
    """d(LX, LY) = d(X, Y) for the Lorentz boost L that takes the origin to V, but for the rounding of LX and LY."""
    LX, LY = (torch.tensor([float(x) for x in oracle.boosted(Z, V, c=c)], dtype=Z.dtype) for Z in (X, Y))
    expected = float(lorentz.dist(X, Y, c=c))
    allowed = torch.finfo(X.dtype).eps * _lengths(LX, LY) + 2 * LORENTZ["dist"].bar(X, Y) * expected
    error = abs(float(lorentz.dist(LX, LY, c=c)) - expected)
    return hold("a boost is an isometry, in roundings", error / (allowed or 1.0), 1.0, (X, Y, V), c)


def lies_on_hyperboloid(lorentz: Any, X: Tensor, *, c: float) -> float:
    """−c⟨X, X⟩ = 1."""
    error = abs(-c * float(lorentz.inner(X, X, c=c)) - 1)
    return hold("−c⟨X, X⟩ = 1", error, LORENTZ["inner"].bar(X), (X,), c)


def product_ranks_as_distance(lorentz: Any, X: Tensor, Ys: Tensor, *, c: float) -> float:
    """In the order of their Lorentz products with X, (D,), the distances of Ys, (P, D), from X do not decrease.

    But for what the rounding of a product, −cosh(√c·d)/c, can hide.
    """
    order = lorentz.pairwise_inner(X[None], Ys, c=c)[0].argsort(descending=True)
    d = lorentz.pairwise_dist(X[None].double(), Ys.double(), c=c)[0, order]
    cosh = torch.cosh(math.sqrt(c) * d)
    error = float((cosh.cummax(0).values / cosh - 1).max())
    return hold("the product ranks as the distance", error, 2 * LORENTZ["pairwise_inner"].bar(X, Ys), (X, Ys), c)


def _lengths(*vectors: Tensor) -> float:
    return sum(float(x.double().norm()) for x in vectors)


def gradient_of(x: Tensor) -> Tensor:
    return torch.zeros_like(x) if x.grad is None else x.grad


def hold(law: str, error: float, bar: float, vectors: Iterable[Tensor], c: Any) -> float:
    if not error <= bar:
        raise Broken(law, f"error {error:.3g} > {bar:.3g}", vectors, c, Error(error, bar))
    return Error(max(error, 0.0), bar)
