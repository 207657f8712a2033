"""Second derivatives and forward mode of maps, angles, depths and Busemann functions, on the suite's hard points."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

from geomdml import cones, hyperplanes, lorentz, poincare, statistics, tangent
from geomdml._core.exact import half_sine
from geomdml.testing import oracle, strategies
from geomdml.testing.primitives import BALL, LORENTZ, TANGENT, Primitive

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # torch's own
ANGLES = {
    name: Primitive(name, getattr(oracle, name), vectors=vectors)
    for name, vectors in {"half_aperture": 1, "exterior_angle": 2, "busemann": 2}.items()
}
IN_CONES = SimpleNamespace(
    half_aperture=cones.half_aperture, exterior_angle=cones.exterior_angle, busemann=statistics.busemann
)
PRIMITIVES = {
    f"{chart}-{name}": (module, primitive, farthest)
    for chart, module, primitives, farthest in (
        ("ball", poincare, BALL, 2.0),
        ("tangent", tangent, TANGENT, 4.0),
        ("lorentz", lorentz, LORENTZ, 3.0),
        ("angles", IN_CONES, ANGLES, 4.0),
    )
    for name, primitive in primitives.items()
    if "dist" not in name
}
EACH = pytest.mark.parametrize("name", PRIMITIVES)
KINKED = ("tangent-lca_depth", "angles-exterior_angle")  # at the origin, and for points on one line with it


def draw(data, name, **options):
    """A function, and where to take it: vectors and c."""
    module, f, farthest = PRIMITIVES[name]
    options = {"farthest": farthest, "nearest": 1e-6, "dimensions": (2, 3), **options}
    *vectors, c = data.draw(strategies.inputs(f, torch.float64, **options))
    if name in KINKED:
        x, y = vectors
        assume(bool(x.any() and y.any()) and min(half_sine(x, y), half_sine(x, -y)) > 1e-8)
    assume(name != "angles-busemann" or bool(vectors[1].any()))
    return (lambda *inputs: f(module, *inputs[:-1], c=inputs[-1])), f, vectors, c


def a_way(x, kind, c, generator):
    """A random step in an input, as long as the input, or as the way to the boundary."""
    size = x.norm(dim=-1, keepdim=True) if x.ndim else torch.ones((), dtype=torch.float64)
    size = torch.where(size > 0, size, 1 / math.sqrt(c))
    if kind in ("point", "points"):
        gaps = [float(oracle.gap(row.tolist(), c)) for row in x.reshape(-1, x.shape[-1])]
        size = size * torch.tensor(gaps, dtype=torch.float64).reshape(size.shape) / 4
    return size * torch.randn(x.shape, dtype=torch.float64, generator=generator)


@EACH
@settings(max_examples=8)
@given(st.data())
def test_second_derivatives_are_exact(name, data):
    """d²/ds² f(x + s·way, …, c + s·way) to 1e-7, against a second difference of the oracle.

    Where that is a difference of terms that cancel, to twelve digits of those.
    """
    f, primitive, vectors, c = draw(data, name)
    generator = torch.Generator().manual_seed(1)
    chart_kinds = [kind if primitive.reference.chart == "ball" else "" for kind in primitive.kinds]
    ways = [a_way(x, kind, c, generator) for x, kind in zip(vectors, chart_kinds, strict=True)]
    ways.append(torch.tensor(0.3 * c, dtype=torch.float64))
    leaves = [x.clone().requires_grad_() for x in (*vectors, torch.tensor(c, dtype=torch.float64))]
    value = f(*leaves)
    weight = torch.randn(value.shape, dtype=torch.float64, generator=generator)

    slopes = torch.autograd.grad((value * weight).sum(), leaves, create_graph=True, materialize_grads=True)
    along = sum((slope * way).sum() for slope, way in zip(slopes, ways, strict=True))
    bends = torch.autograd.grad(along, leaves, materialize_grads=True) if along.requires_grad else ()
    found = sum(float((bend * way).sum()) for bend, way in zip(bends, ways, strict=bool(bends)))

    digits = 3 * primitive.reference.digits(*vectors, c=c)
    with mp.workdps(digits):
        step, start = mpf(10) ** (-digits // 4), [*map(oracle.exact, vectors), [mpf(c)]]
        exact_ways = list(map(oracle.exact, ways))

        def at(s):
            moved = [[a + s * b for a, b in zip(x, way, strict=True)] for x, way in zip(start, exact_ways, strict=True)]
            result = primitive.reference.definition(*moved[:-1], c=moved[-1][0])
            return result if isinstance(result, list) else [result]

        triples = zip(at(-step), at(mpf(0)), at(step), strict=True)
        expected = torch.tensor([float((a - 2 * b + d) / step**2) for a, b, d in triples], dtype=torch.float64)
    largest = max(float(x.norm()) for x in (value.detach(), *vectors, *ways[:-1]))
    bar = 1e-7 * float(expected.norm()) + 1e-12 * largest
    assert abs(found - float(expected @ weight.flatten())) <= bar * float(weight.norm())


@EACH
@settings(max_examples=8)
@given(st.data())
def test_forward_mode_is_the_function_and_its_gradient(name, data):
    """It takes another formula, which must have the digits of the kernel; at the origin and duplicates it is finite."""
    f, _, vectors, c = draw(data, name)
    inputs = (*vectors, torch.tensor(c, dtype=torch.float64))
    steps = (*(0.1 * x.norm() * torch.randn_like(x) for x in vectors), inputs[-1] / 10)
    value, slope = torch.func.jvp(f, inputs, steps)
    expected, pull = torch.func.vjp(f, *inputs)
    weight = torch.randn_like(value)
    largest = max(float(x.norm()) for x in (expected, *vectors))
    assert float((value - expected).norm()) <= 1e-12 * float(expected.norm()) + 2e-14 * largest
    terms = [(gradient * step).sum() for gradient, step in zip(pull(weight), steps, strict=True)]
    size = max(abs(float(term)) for term in terms) + 1e-12 * largest * float(weight.norm())
    assert float((slope * weight).sum()) == pytest.approx(float(sum(terms)), abs=1e-8 * size)


@pytest.mark.parametrize("name", KINKED)
@pytest.mark.parametrize("other", [[0.0, 0.0], [0.8, 0.6], [0.4, 0.3], [-0.4, -0.3]])
@pytest.mark.parametrize("first", [[0.0, 0.0], [0.8, 0.6]])
def test_where_there_is_no_second_derivative_it_is_finite(name, first, other):
    module, f, _ = PRIMITIVES[name]
    x, y, c = (torch.tensor(z, dtype=torch.float64, requires_grad=True) for z in (first, other, 0.7))
    slopes = torch.autograd.grad(f(module, x, y, c=c), (x, y, c), create_graph=True)
    bends = torch.autograd.grad(sum(slope.sum() for slope in slopes), (x, y, c))
    hessian = torch.func.hessian(lambda x: f(module, x, y.detach(), c=0.7))(x.detach())
    assert all(bend.isfinite().all() for bend in (*bends, hessian))


@pytest.mark.parametrize(
    "f",
    [
        lambda u, z, r, c: hyperplanes.signed_dist(u, z, r, c=c),
        lambda u, z, r, c: statistics.wrapped_normal_log_prob(u, z, r[:1].exp(), c=c),
        lambda u, z, r, c: statistics.frechet_mean(torch.stack([u, z, u + z], -2), r.exp(), c=c),
        lambda u, z, r, c: tangent.midpoint(torch.stack([u, z, u + z], -2), r.exp(), c=c),
    ],
    ids=["hyperplanes", "wrapped normal", "mean", "midpoint"],
)
def test_gradgradcheck_and_the_hessian_in_both_modes(f):
    """One of the points is the origin, and one is on another."""
    u = torch.tensor([[0.3, -0.4], [0.0, 0.0], [1.5, 0.2]], dtype=torch.float64, requires_grad=True)
    z = torch.tensor([[0.3, -0.4], [0.5, 0.1], [-0.7, 1.0]], dtype=torch.float64, requires_grad=True)
    r = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64, requires_grad=True)
    c = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(f, (u, z, r, c))

    def number(u):
        return f(u, z.detach(), r.detach(), 0.7).sin().sum()

    forward = torch.func.hessian(number)(u.detach())
    torch.testing.assert_close(torch.autograd.functional.hessian(number, u.detach()), forward, rtol=1e-7, atol=1e-9)
