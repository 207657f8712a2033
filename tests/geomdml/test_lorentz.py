"""The Lorentz model keeps the laws of hyperbolic geometry as far out as its floats reach."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml import lorentz, tangent
from geomdml.numerics import direction
from geomdml.testing import laws, strategies
from geomdml.testing.laws import LORENTZ

SMALL = (2, 3, 5)
NEAR = 2.0  # A = 4, up to which a product ranks as the distance in float32 arithmetic too
FARTHEST = {"inner": 10.0, "pairwise_inner": NEAR, "from_tangent": 35.0}  # where products and points still are numbers
EACH = pytest.mark.parametrize("f", LORENTZ.values(), ids=LORENTZ.keys())
DISTANCE = pytest.mark.parametrize("f", [LORENTZ["dist"], LORENTZ["pairwise_dist"]], ids=lambda f: f.name)
DTYPE = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
HALF = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)


def inputs(f, dtype=torch.float32, **options):
    if f.name in FARTHEST:
        options["farthest"] = min(FARTHEST[f.name], options.get("farthest", FARTHEST[f.name]))
    return strategies.inputs(f, dtype, **options)


@EACH
@DTYPE
@given(st.data())
def test_values_are_exact(f, dtype, data):
    *vectors, c = data.draw(inputs(f, dtype))
    laws.is_exact(lorentz, f, *vectors, c=c)


@EACH
@given(st.data())
def test_gradients_are_exact(f, data):
    *vectors, c = data.draw(inputs(f, dimensions=SMALL, relations=strategies.DISTINCT))
    laws.gradient_is_exact(lorentz, f, *vectors, c=c)


@EACH
@given(st.data())
def test_gradients_are_exact_in_float64(f, data):
    relations = [relation for relation in strategies.DISTINCT if relation != "near-duplicate"]
    *vectors, c = data.draw(inputs(f, torch.float64, farthest=3.0, dimensions=SMALL, relations=relations))
    laws.gradient_is_exact(lorentz, f, *vectors, c=c, bar=1e-8)


@EACH
@given(st.data())
def test_gradcheck(f, data):
    options = {"nearest": 0.1, "farthest": 1.0, "dimensions": (2, 3), "relations": strategies.APART}
    *vectors, c = data.draw(inputs(f, torch.float64, c=strategies.curvatures(0.2, 5.0), **options))
    laws.gradcheck(lorentz, f, *vectors, c=c)


@EACH
@DTYPE
@given(st.data())
def test_gradients_are_finite(f, dtype, data):
    *vectors, c = data.draw(strategies.inputs(f, dtype, farthest=150.0))  # float64 has no room for products beyond
    laws.gradients_are_finite(lorentz, f, *vectors, c=c)


@EACH
@DTYPE
@given(st.data(), st.integers(-4, 0))
def test_scaling_between_curvatures(f, dtype, data, exponent):
    *vectors, c = data.draw(inputs(f, dtype))
    laws.scales_with_curvature(lorentz, f, *vectors, c=c, exponent=exponent)


@pytest.mark.parametrize("f", [f for f in LORENTZ.values() if f.flat], ids=lambda f: f.name)
@DTYPE
@given(st.data())
def test_flat_limit(f, dtype, data):
    *vectors, c = data.draw(inputs(f, dtype, c=st.just(1e-12), farthest=1e-6))
    laws.has_flat_limit(lorentz, f, *vectors, c=c)


@EACH
@given(st.data(), st.integers(0, 999))
def test_rotations(f, data, seed):
    *vectors, c = data.draw(inputs(f))
    laws.commutes_with_rotation(lorentz, f, *vectors, c=c, seed=seed)


@EACH
@HALF
@given(st.data())
def test_half_precision(f, dtype, data):
    options = {"nearest": 1e-3, "farthest": 3.0, "c": strategies.curvatures(0.01, 100.0)}
    *vectors, c = data.draw(inputs(f, dtype, **options))
    laws.half_is_float32_of_the_rounded(lorentz, f, *vectors, c=c)


@pytest.mark.parametrize("f", [f for f in LORENTZ.values() if "pairwise" not in f.name], ids=lambda f: f.name)
@given(st.data())
def test_leading_dimensions_broadcast(f, data):
    *vectors, c = data.draw(inputs(f))
    laws.broadcasts(lorentz, f, *vectors, c=c)


@pytest.mark.parametrize("f", [f for f in LORENTZ.values() if f.vectors == 2], ids=lambda f: f.name)
@DTYPE
@given(st.data())
def test_symmetry(f, dtype, data):
    X, Y, c = data.draw(inputs(f, dtype))
    laws.is_symmetric(lorentz, f, X, Y, c=c)


@DISTANCE
@DTYPE
@given(st.data(), st.floats(-1, 1))
def test_triangle_inequality(f, dtype, data, share):
    X, Z, c = data.draw(strategies.lorentz_pairs(dtype))
    for Y in (share * X, 0.5 * (X + Z), 0 * X):
        laws.triangle_inequality(lorentz, f, X, Y, Z, c=c)


@pytest.mark.parametrize("name", ["pairwise_dist", "pairwise_inner"])
@DTYPE
@given(st.data())
def test_all_pairs(name, dtype, data):
    X, Y, c = data.draw(strategies.lorentz_pairs(dtype, farthest=NEAR))
    laws.all_pairs_are_exact(lorentz, LORENTZ[name], torch.stack([X, Y, -X]), torch.stack([Y, X]), c=c)


@DTYPE
@given(st.data())
def test_the_model_agrees_with_the_tangent_chart(dtype, data):
    u, v, c = data.draw(strategies.tangent_pairs(dtype, farthest=5.0))
    laws.lorentz_agrees(lorentz, tangent, u, v, c=c)


@DTYPE
@given(st.data())
def test_boosts_are_isometries(dtype, data):
    X, Y, c = data.draw(strategies.lorentz_pairs(dtype, farthest=3.0, dimensions=(2, 3, 8)))
    for V in (X, Y, -X, X - Y):
        laws.boost_is_isometry(lorentz, X, Y, V, c=c)


@DTYPE
@given(st.data())
def test_points_lie_on_the_hyperboloid(dtype, data):
    X, c = data.draw(strategies.lorentz_points(dtype))
    laws.lies_on_hyperboloid(lorentz, X, c=c)


@DTYPE
@given(st.data(), st.integers(0, 999))
def test_the_product_ranks_as_the_distance_near_the_centre(dtype, data, seed):
    X, Y, c = data.draw(strategies.lorentz_pairs(dtype, farthest=NEAR))
    generator = torch.Generator().manual_seed(seed)
    shares = torch.rand((2, 50, 1), generator=generator, dtype=dtype)
    laws.product_ranks_as_distance(lorentz, X, shares[0] * X + (1 - shares[0]) * shares[1] * Y, c=c)


@DTYPE
@given(st.data())
def test_points_beyond_the_floats_stay_on_their_ray(dtype, data):
    u, c = data.draw(strategies.tangents(dtype, nearest=45.0))
    X = lorentz.from_tangent(u, c=c)
    assert torch.isfinite(X).all()
    (X_hat, length), (u_hat, _) = direction(X.double()), direction(u.double())
    assert max(1.0, c**0.5) * length <= 1.0001 * torch.finfo(dtype).max ** 0.9
    torch.testing.assert_close(X_hat, u_hat, rtol=0, atol=1e-6)
    laws.gradients_are_finite(lorentz, LORENTZ["from_tangent"], u, c=c)


def test_distances_near_the_end_of_float64():
    """Two points at A = 638, one apart across their rays: sinh(δ/2) = 1/2, and the slope 1/√(1 + 1/4)."""
    X = lorentz.from_tangent(torch.tensor([319.0, 0.0], dtype=torch.float64), c=1.0)
    Y = (X + torch.tensor([0.0, 1.0])).requires_grad_()
    for d in (lorentz.dist(X, Y, c=1.0), lorentz.pairwise_dist(X[None], Y[None], c=1.0)[0, 0]):
        assert math.isclose(d.detach(), 2 * math.asinh(0.5), rel_tol=1e-12)
        (slope,) = torch.autograd.grad(d, Y)
        torch.testing.assert_close(slope, torch.tensor([0.0, 1.25**-0.5], dtype=torch.float64), atol=1e-9, rtol=0)


@EACH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_nothing_gives_nothing(f, dtype):
    laws.empty_gives_empty(lorentz, f, dtype=dtype)


@EACH
def test_refusals(f):
    laws.refuses_what_cannot_be(lorentz, f)


@pytest.mark.parametrize("f", [f for f in LORENTZ.values() if f.name != "from_ball"], ids=lambda f: f.name)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_vectors_that_are_not_finite_are_refused(f, value):
    laws.refuses_vectors_not_finite(lorentz, f, value)


def test_points_outside_the_ball_are_refused():
    laws.refuses_points_outside(lorentz, LORENTZ["from_ball"], torch.tensor([1.0, 0.0]), c=1.0)
