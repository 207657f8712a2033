"""The laws of hyperbolic geometry, each a plain function of an implementation.

An implementation is a module, or any object, that has functions by the names and signatures of `geomdml.poincare` or
`geomdml.tangent`. A law evaluates it on the inputs given, returns the largest error that it found, and raises a `Broken`
(an `AssertionError`) that names law, inputs, error and bar. `BALL`, `TANGENT` and `EUCLIDEAN` list the primitives, with
the reference that says what each should return, and how near.

Errors are relative and norm-wise: ‖value − exact‖/‖exact‖ over all entries, in fifty digits; 0 must be exactly 0.

>>> import torch, geomdml
>>> x, y = torch.tensor([0.3, 0.4]), torch.tensor([0.0, 0.9])
>>> is_exact(geomdml.poincare, BALL["dist"], x, y, c=1.0) < 2.4e-7
True
"""

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from mpmath import mp, mpf
from torch import Tensor

from geomdml.testing import oracle


class Broken(AssertionError):
    """A law does not hold."""


class Primitive(NamedTuple):
    """A function that an implementation offers, and what it should compute."""

    name: str
    reference: oracle.Reference
    float32: float = 1e-6  # largest relative error
    float64: float = 1e-12
    vectors: int = 2
    degree: int = 1  # f at curvature c/s² of s·x is s**degree times f at c of x
    flat: Callable[..., Tensor] | None = None  # the limit c → 0

    def __call__(self, implementation: Any, *vectors: Tensor, c: Any) -> Tensor:
        """The value for single vectors, of a pairwise function too."""
        function = getattr(implementation, self.name)
        if self.name.startswith("pairwise"):
            return function(*(x.unsqueeze(0) for x in vectors), c=c)[0, 0]
        return function(*vectors, c=c)

    def bar(self, *vectors: Tensor) -> float:
        return self.float64 if all(x.dtype == torch.float64 for x in vectors) else self.float32


def _named(*primitives: Primitive) -> dict[str, Primitive]:
    return {primitive.name: primitive for primitive in primitives}


def _twice_apart(x: Tensor, y: Tensor) -> Tensor:
    return 2 * (x - y).norm()


def _itself(x: Tensor) -> Tensor:
    return x


BALL = _named(
    Primitive("dist", oracle.dist, 2.4e-7, 4e-15, flat=_twice_apart),
    Primitive("pairwise_dist", oracle.dist, 2.4e-7, 4e-15, flat=_twice_apart),
    Primitive("dist0", oracle.dist0, 2.4e-7, 4e-15, vectors=1, flat=lambda x: 2 * x.norm()),
    Primitive("mobius_add", oracle.mobius_add, 2.4e-7, 4e-15, flat=torch.add),
    Primitive("expmap0", oracle.expmap0, vectors=1, flat=_itself),
    Primitive("logmap0", oracle.logmap0, vectors=1, flat=_itself),
    Primitive("conformal_factor", oracle.conformal_factor, vectors=1, degree=0, flat=lambda x: 0 * x[0] + 2),
)
TANGENT = _named(
    Primitive("dist", oracle.tangent_dist, 2.4e-7, flat=_twice_apart),
    Primitive("pairwise_dist", oracle.tangent_dist, 2.4e-7, flat=_twice_apart),
    Primitive("lca_depth", oracle.lca_depth),
    Primitive("to_ball", oracle.expmap0, vectors=1, flat=_itself),
    Primitive("from_ball", oracle.logmap0, vectors=1, flat=_itself),
)
EUCLIDEAN = _named(
    Primitive("dist", oracle.euclidean_dist, 2.4e-7, 4e-15),
    Primitive("pairwise_dist", oracle.euclidean_dist, 2.4e-7, 4e-15),
)


def is_exact(implementation: Any, f: Primitive, *vectors: Tensor, c: float) -> float:
    """The value is that of the fifty-digit reference."""
    error = _error(f(implementation, *vectors, c=c), f.reference(*vectors, c=c))
    return _hold(f"{f.name} is exact", error, f.bar(*vectors), vectors, c)


def all_pairs_are_exact(implementation: Any, f: Primitive, xs: Tensor, ys: Tensor, *, c: float) -> float:
    """(B, D) and (P, D) to (B, P): each entry is that of the reference, and equal vectors are at exactly 0."""
    matrix = getattr(implementation, f.name)(xs, ys, c=c)
    if matrix.shape != (len(xs), len(ys)):
        raise Broken(f"{f.name} has shape {tuple(matrix.shape)} for {tuple(xs.shape)} and {tuple(ys.shape)}")
    errors = [
        _hold(f"{f.name} is exact", _error(matrix[i, j], f.reference(x, y, c=c)), f.bar(x, y), (x, y), c)
        for i, x in enumerate(xs)
        for j, y in enumerate(ys)
    ]
    return max(errors, default=0.0)


def gradient_is_exact(implementation: Any, f: Primitive, *vectors: Tensor, c: float, bar: float = 1e-5) -> float:
    """The derivatives by each vector and by c are those of the reference, norm-wise, up to what the dtype can hold."""
    largest = torch.finfo(vectors[0].dtype).max
    found = torch.autograd.functional.jacobian(
        lambda *inputs: f(implementation, *inputs[:-1], c=inputs[-1]), (*vectors, torch.tensor(c, dtype=torch.float64))
    )
    worst = 0.0
    for i, (value, columns) in enumerate(zip(found, f.reference.jacobian(*vectors, c=c), strict=True)):
        expected = [entry for row in zip(*columns, strict=True) for entry in row]
        if all(abs(entry) < largest for entry in expected):
            by = f"input {i}" if i < len(vectors) else "c"
            worst = max(worst, _hold(f"derivative of {f.name} by {by}", _error(value, expected), bar, vectors, c))
    return worst


def gradients_are_finite(implementation: Any, f: Primitive, *vectors: Tensor, c: float) -> float:
    """Wherever the points are, the gradients are numbers; those of a distance are 0 at duplicates."""
    inputs = [x.clone().requires_grad_() for x in vectors]
    curvature = torch.tensor(c, dtype=torch.float64, requires_grad=True)
    f(implementation, *inputs, c=curvature).sum().backward()
    gradients = [_gradient(x) for x in (*inputs, curvature)]
    if not all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
        raise _broken(f"gradients of {f.name} are finite", "found", gradients, vectors, c)
    if "dist" in f.name and len(vectors) == 2 and torch.equal(*vectors) and any(bool(g.any()) for g in gradients):
        raise _broken(f"gradients of {f.name} are 0 at duplicates", "found", gradients, vectors, c)
    return 0.0


def gradcheck(implementation: Any, f: Primitive, *vectors: Tensor, c: float) -> float:
    """torch's own check, in float64, c included."""
    inputs = (*(x.double().requires_grad_() for x in vectors), torch.tensor(c, dtype=torch.float64, requires_grad=True))
    torch.autograd.gradcheck(lambda *given: f(implementation, *given[:-1], c=given[-1]), inputs, atol=1e-6, rtol=1e-5)
    return 0.0


def is_symmetric(implementation: Any, f: Primitive, x: Tensor, y: Tensor, *, c: float) -> float:
    """f(x, y) = f(y, x)."""
    error = _relative(f(implementation, x, y, c=c), f(implementation, y, x, c=c))
    return _hold(f"{f.name} is symmetric", error, 2 * f.bar(x, y), (x, y), c)


def triangle_inequality(implementation: Any, f: Primitive, x: Tensor, y: Tensor, z: Tensor, *, c: float) -> float:
    """d(x, z) ≤ d(x, y) + d(y, z), as far as distances that are right to their bar can tell."""
    xz, xy, yz = (float(f(implementation, *pair, c=c)) for pair in ((x, z), (x, y), (y, z)))
    excess = xz - (xy + yz)
    return _hold(f"triangle inequality of {f.name}", excess / (xz or 1.0), 2 * f.bar(x, y, z), (x, y, z), c)


def scales_with_curvature(implementation: Any, f: Primitive, *vectors: Tensor, c: float, exponent: int = 1) -> float:
    """d_{c/s²}(s x, s y) = s d_c(x, y) and the like; s is a power of two, so that scaling the inputs is exact."""
    s = 2.0**exponent
    scaled = f(implementation, *(s * x for x in vectors), c=c / s**2) / s**f.degree
    error = _relative(scaled, f(implementation, *vectors, c=c))
    return _hold(f"{f.name} scales between curvatures", error, 2 * f.bar(*vectors), vectors, c)


def has_flat_limit(implementation: Any, f: Primitive, *vectors: Tensor, c: float) -> float:
    """As c → 0: 2‖x − y‖ for a distance, x + y for Möbius addition, the vector itself for the maps; to O(c‖x‖²)."""
    if f.flat is None:
        raise TypeError(f"{f.name} has no flat limit on record")
    curved = 10 * c * sum(float(x.double().square().sum()) for x in vectors)
    error = _relative(f(implementation, *vectors, c=c).double(), f.flat(*(x.double() for x in vectors)))
    return _hold(f"{f.name} as c → 0", error, 2 * f.bar(*vectors) + curved, vectors, c)


def commutes_with_rotation(implementation: Any, f: Primitive, *vectors: Tensor, c: float, seed: int = 0) -> float:
    """Turned inputs give turned results, and the same distances; a signed permutation turns floats exactly."""
    rng, dim = np.random.default_rng(seed), len(vectors[0])
    order, signs = torch.tensor(rng.permutation(dim)), torch.tensor(rng.choice([-1, 1], dim))
    value = f(implementation, *vectors, c=c)
    turned = f(implementation, *(signs * x[order] for x in vectors), c=c)
    expected = signs * value[order] if value.ndim else value
    return _hold(f"{f.name} under rotation", _relative(turned, expected), 2 * f.bar(*vectors), vectors, c)


def left_cancellation(ball: Any, x: Tensor, y: Tensor, *, c: float) -> float:
    """(−x) ⊕ (x ⊕ y) = y, but for the rounding of x ⊕ y, which the way back stretches by λ(x ⊕ y)/λ(y)."""
    sum_ = ball.mobius_add(x, y, c=c)
    stretch = float(oracle.gap(y, c)) / float(oracle.gap(sum_, c))
    allowed = 2 * BALL["mobius_add"].bar(x, y) * float(y.norm() + 2 * stretch * sum_.norm())
    error = float((ball.mobius_add(-x, sum_, c=c) - y).norm())
    return _hold("left cancellation", error, allowed, (x, y), c)


def has_identity_and_inverse(ball: Any, x: Tensor, *, c: float) -> float:
    """0 ⊕ x = x ⊕ 0 = x, and (−x) ⊕ x = 0 exactly."""
    bar, zero = BALL["mobius_add"].bar(x), torch.zeros_like(x)
    cases = {"0 ⊕ x": (zero, x, x), "x ⊕ 0": (x, zero, x), "(−x) ⊕ x": (-x, x, zero)}
    errors = {name: _relative(ball.mobius_add(a, b, c=c), value) for name, (a, b, value) in cases.items()}
    return max(_hold(f"identity and inverse: {name}", error, bar, (x,), c) for name, error in errors.items())


def exp_inverts_log(ball: Any, x: Tensor, *, c: float) -> float:
    """exp_0(log_0(x)) = x, up to the last float inside the ball."""
    error = _relative(ball.expmap0(ball.logmap0(x, c=c), c=c), x)
    return _hold("exp inverts log", error, 2 * BALL["expmap0"].bar(x), (x,), c)


def log_inverts_exp(ball: Any, v: Tensor, *, c: float) -> float:
    """log_0(exp_0(v)) = v, but for the rounding of the point, which log stretches by sinh(2z)/2z, z = √c‖v‖."""
    z = math.sqrt(c) * float(v.double().norm())
    stretch = math.sinh(2 * z) / (2 * z) if z else 1.0
    error = _relative(ball.logmap0(ball.expmap0(v, c=c), c=c), v)
    return _hold("log inverts exp", error, BALL["expmap0"].bar(v) * (1 + 2 * stretch), (v,), c)


def projects_inside(ball: Any, x: Tensor, *, c: float) -> float:
    """What `project` returns lies inside, on the ray of x; a point that is inside already comes back as it is."""
    inside = ball.project(x, c=c)
    if oracle.gap(inside, c) <= 0:
        raise _broken("project gives points inside", "found", inside, (x,), c)
    if oracle.gap(x, c) > 0 and not torch.equal(inside, x):
        raise _broken("project leaves points inside as they are", "found", inside, (x,), c)
    length, pulled = x.double().norm(), inside.double()
    error = _relative(pulled * (length / pulled.norm()), x.double()) if length > 0 else 0.0
    return _hold("project keeps the direction", error, BALL["expmap0"].bar(x), (x,), c)


def charts_agree(ball: Any, tangent: Any, u: Tensor, v: Tensor, *, c: float) -> float:
    """Distances are the same in both charts, but for the rounding of the points of the ball, stretched by λ."""
    x, y = (tangent.to_ball(w, c=c) for w in (u, v))
    moved = sum(4 * float(z.norm() / oracle.gap(z, c)) for z in (x, y)) * TANGENT["to_ball"].bar(u, v)
    expected = float(tangent.dist(u, v, c=c))
    error = abs(float(ball.dist(x, y, c=c)) - expected)
    return _hold("charts agree", error, moved + TANGENT["dist"].bar(u, v) * expected, (u, v), c)


def half_is_float32_of_the_rounded(implementation: Any, f: Primitive, *vectors: Tensor, c: float) -> float:
    """16-bit inputs give the float32 result of the same numbers, and nothing changes under autocast."""
    value = f(implementation, *vectors, c=c)
    expected = f(implementation, *(x.float() for x in vectors), c=c)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = f(implementation, *vectors, c=c)
    if value.dtype != torch.float32 or not torch.equal(value, expected) or not torch.equal(cast, expected):
        raise _broken(f"{f.name} of 16-bit inputs is that of float32", "found", (value, cast, expected), vectors, c)
    if not bool(torch.isfinite(value).all()):
        raise _broken(f"{f.name} of 16-bit inputs is finite", "found", value, vectors, c)
    return 0.0


def broadcasts(implementation: Any, f: Primitive, *vectors: Tensor, c: float) -> float:
    """Leading dimensions broadcast: a (2, 1, D) beside a (3, D) gives (2, 3) times the value of the vectors."""
    value = f(implementation, *vectors, c=c)
    shapes = ((2, 1), (3,)) if len(vectors) == 2 else ((2, 3),)
    tensors = (x.expand(*shape, -1) for x, shape in zip(vectors, shapes, strict=True))
    many = getattr(implementation, f.name)(*tensors, c=c)
    if many.shape != (2, 3, *value.shape):
        raise _broken(f"{f.name} broadcasts", "shape", tuple(many.shape), vectors, c)
    return _hold(f"{f.name} broadcasts", _relative(many, value.expand_as(many)), 2 * f.bar(*vectors), vectors, c)


def empty_gives_empty(implementation: Any, f: Primitive, *, dtype: torch.dtype, c: float = 0.5) -> float:
    """No vectors, no values, and a backward pass that runs."""
    inputs = [torch.zeros((0, 3), dtype=dtype, requires_grad=True) for _ in range(f.vectors)]
    value = getattr(implementation, f.name)(*inputs, c=c)
    value.sum().backward()
    if value.numel() or any(_gradient(x).shape != x.shape for x in inputs):
        raise _broken(f"{f.name} of nothing is nothing", "found", value, inputs, c)
    return 0.0


def refuses_what_cannot_be(implementation: Any, f: Primitive, *, c: float = 0.5) -> float:
    """Curvature, dtype and shape that make no sense are refused, by a message that names the argument."""
    function = getattr(implementation, f.name)
    names = [name for name in inspect.signature(function).parameters if name != "c"][: f.vectors]
    good = [torch.full((2, 3), 0.1) for _ in names]
    for wrong in (0.0, -1.0, math.nan, math.inf, torch.tensor(0.0), torch.tensor(math.nan)):
        _refused(ValueError, ["c"], function, good, wrong)
    for i, name in enumerate(names):
        for dtype in (torch.int64, torch.bool, torch.complex64):
            _refused(TypeError, [name], function, [*good[:i], torch.zeros((2, 3), dtype=dtype), *good[i + 1 :]], c)
        if len(names) > 1:
            _refused(ValueError, names, function, [*good[:i], torch.full((2, 4), 0.1), *good[i + 1 :]], c)
    return 0.0


def refuses_points_outside(ball: Any, f: Primitive, outside: Tensor, *, c: float) -> float:
    """A point that is not inside the ball is refused, by a message that names the argument."""
    function = getattr(ball, f.name)
    names = [name for name in inspect.signature(function).parameters if name != "c"][: f.vectors]
    for i, name in enumerate(names):
        inputs = [(outside if i == j else torch.zeros_like(outside)).unsqueeze(0) for j in range(len(names))]
        _refused(ValueError, [name], function, inputs, c)
    return 0.0


def _refused(
    error: type[Exception], named: list[str], function: Callable[..., Any], inputs: list[Tensor], c: Any
) -> None:
    try:
        function(*inputs, c=c)
    except error as refusal:
        if any(name not in str(refusal) for name in named):
            raise _broken(f"{function.__name__} names {named}", "said", str(refusal), inputs, c) from refusal
    else:
        raise _broken(f"{function.__name__} raises {error.__name__} about {named}", "raised", "nothing", inputs, c)


def _error(value: Tensor, exact: Any) -> float:
    """‖value − exact‖/‖exact‖, 0 where both are 0; infinite for what is not a number."""
    found = [mpf(entry) for entry in value.detach().double().flatten().tolist()]
    expected = exact if isinstance(exact, list) else [exact]
    with mp.workdps(60):
        difference, size = oracle.norm(a - b for a, b in zip(found, expected, strict=True)), oracle.norm(expected)
        if not mp.isfinite(difference):
            return math.inf
        return float(difference / size) if size else (math.inf if difference else 0.0)


def _relative(value: Tensor, expected: Tensor) -> float:
    return _error(value, [mpf(entry) for entry in expected.detach().double().flatten().tolist()])


def _gradient(x: Tensor) -> Tensor:
    return torch.zeros_like(x) if x.grad is None else x.grad


def _hold(law: str, error: float, bar: float, vectors: Iterable[Tensor], c: Any) -> float:
    if not error <= bar:
        raise _broken(law, "error", f"{error:.3g} > {bar:.3g}", vectors, c)
    return max(error, 0.0)


def _broken(law: str, what: str, found: Any, vectors: Iterable[Tensor], c: Any) -> Broken:
    inputs = "".join(f"\n  {x.dtype} {x.tolist()}" for x in vectors)
    return Broken(f"{law}: {what} {found}, at c = {c!r} and{inputs}")
