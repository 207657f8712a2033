"""Distances between tangent vectors are right at any radius, and the common ancestor lies on the segment."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml import poincare, tangent
from geomdml.testing import laws, strategies
from geomdml.testing.laws import TANGENT

GRADIENTS_FIT = 60.0  # radius within which float64 holds every gradient comfortably
SMALL = (2, 3, 5)
EACH = pytest.mark.parametrize("f", TANGENT.values(), ids=TANGENT.keys())
DISTANCE = pytest.mark.parametrize("f", [TANGENT["dist"], TANGENT["pairwise_dist"]], ids=lambda f: f.name)
PAIR = pytest.mark.parametrize("f", [f for f in TANGENT.values() if f.vectors == 2], ids=lambda f: f.name)
DTYPE = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
HALF = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)


def smooth(f):
    """The relations at which a function has a gradient: a depth has none where it is 0."""
    return (*strategies.APART, "near-duplicate", "near-antipode") if f.name == "lca_depth" else strategies.DISTINCT


@EACH
@DTYPE
@given(st.data())
def test_values_are_exact(f, dtype, data):
    *vectors, c = data.draw(strategies.inputs(f, dtype))
    laws.is_exact(tangent, f, *vectors, c=c)


@EACH
@given(st.data())
def test_gradients_are_exact(f, data):
    options = {"farthest": GRADIENTS_FIT} if f.reference.chart == "tangent" else {}
    *vectors, c = data.draw(strategies.inputs(f, dimensions=SMALL, relations=smooth(f), **options))
    laws.gradient_is_exact(tangent, f, *vectors, c=c)


@EACH
@given(st.data())
def test_gradients_are_exact_in_float64(f, data):
    relations = [relation for relation in smooth(f) if relation != "near-duplicate"]  # whose last digits float64 lacks
    options = {"farthest": 3.0, "dimensions": SMALL, "relations": relations}
    *vectors, c = data.draw(strategies.inputs(f, torch.float64, **options))
    laws.gradient_is_exact(tangent, f, *vectors, c=c, bar=1e-8)


@EACH
@given(st.data())
def test_gradcheck(f, data):
    options = {"nearest": 0.1, "farthest": 1.0, "dimensions": (2, 3), "relations": strategies.APART}
    *vectors, c = data.draw(strategies.inputs(f, torch.float64, c=strategies.curvatures(0.2, 5.0), **options))
    laws.gradcheck(tangent, f, *vectors, c=c)


@EACH
@DTYPE
@given(st.data())
def test_gradients_are_finite(f, dtype, data):
    *vectors, c = data.draw(strategies.inputs(f, dtype))
    laws.gradients_are_finite(tangent, f, *vectors, c=c)


@EACH
@DTYPE
@given(st.data(), st.integers(-4, 4))
def test_scaling_between_curvatures(f, dtype, data, exponent):
    *vectors, c = data.draw(strategies.inputs(f, dtype))
    laws.scales_with_curvature(tangent, f, *vectors, c=c, exponent=exponent)


@pytest.mark.parametrize("f", [f for f in TANGENT.values() if f.flat], ids=lambda f: f.name)
@DTYPE
@given(st.data())
def test_flat_limit(f, dtype, data):
    *vectors, c = data.draw(strategies.inputs(f, dtype, c=st.just(1e-12), farthest=1e-6))
    laws.has_flat_limit(tangent, f, *vectors, c=c)


@EACH
@DTYPE
@given(st.data(), st.integers(0, 999))
def test_rotations(f, dtype, data, seed):
    *vectors, c = data.draw(strategies.inputs(f, dtype))
    laws.commutes_with_rotation(tangent, f, *vectors, c=c, seed=seed)


@EACH
@HALF
@given(st.data())
def test_half_precision(f, dtype, data):
    options = {"nearest": 1e-3, "farthest": 3.0, "c": strategies.curvatures(0.01, 100.0)}
    *vectors, c = data.draw(strategies.inputs(f, dtype, **options))
    laws.half_is_float32_of_the_rounded(tangent, f, *vectors, c=c)


@pytest.mark.parametrize("f", [f for f in TANGENT.values() if f.name != "pairwise_dist"], ids=lambda f: f.name)
@given(st.data())
def test_leading_dimensions_broadcast(f, data):
    *vectors, c = data.draw(strategies.inputs(f))
    laws.broadcasts(tangent, f, *vectors, c=c)


@PAIR
@DTYPE
@given(st.data())
def test_symmetry(f, dtype, data):
    u, v, c = data.draw(strategies.tangent_pairs(dtype))
    laws.is_symmetric(tangent, f, u, v, c=c)


@DISTANCE
@DTYPE
@given(st.data(), st.floats(-2, 2))
def test_triangle_inequality(f, dtype, data, share):
    u, w, c = data.draw(strategies.tangent_pairs(dtype))
    for v in (share * u, 0.5 * (u + w), 0 * u):
        laws.triangle_inequality(tangent, f, u, v, w, c=c)


@DTYPE
@given(st.data())
def test_all_pairs(dtype, data):
    u, v, c = data.draw(strategies.tangent_pairs(dtype, farthest=3.0))
    us, vs = torch.stack([u, v, -u]), torch.stack([v, u])
    laws.all_pairs_are_exact(tangent, TANGENT["pairwise_dist"], us, vs, c=c)


@DTYPE
@given(st.data())
def test_charts_agree(dtype, data):
    u, v, c = data.draw(strategies.tangent_pairs(dtype, farthest=3.0))
    laws.charts_agree(poincare, tangent, u, v, c=c)


@given(st.data())
def test_the_common_ancestor_is_no_farther_than_either_point(data):
    u, v, c = data.draw(strategies.tangent_pairs())
    near = torch.minimum(*(tangent.dist(w, torch.zeros_like(w), c=c) for w in (u, v)))
    assert 0 <= tangent.lca_depth(u, v, c=c) <= near * (1 + 1e-6)


@given(st.data())
def test_the_common_ancestor_of_a_point_and_itself_is_the_point(data):
    u, c = data.draw(strategies.tangents())
    torch.testing.assert_close(tangent.lca_depth(u, u, c=c), tangent.dist(u, torch.zeros_like(u), c=c))


@pytest.mark.parametrize("scale", [2.0**-7, 0.25, 1.0])
def test_points_on_one_ray_are_as_far_apart_as_their_radii(scale):
    """Exactly on one ray: a rounding of the directions, 1e-16, would be multiplied by e^(A+B)."""
    u = scale * torch.tensor([116.0, 276.0, -3.0])
    for share in (0.375, 0.5, 0.875):
        expected = 2 * (1 - share) * u.double().norm()
        torch.testing.assert_close(tangent.dist(u, share * u, c=1.0).double(), expected, rtol=3e-7, atol=0)
        depth = tangent.lca_depth(u, share * u, c=1.0).double()
        torch.testing.assert_close(depth, 2 * share * u.double().norm(), rtol=3e-7, atol=0)


@EACH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_nothing_gives_nothing(f, dtype):
    laws.empty_gives_empty(tangent, f, dtype=dtype)


@EACH
def test_refusals(f):
    laws.refuses_what_cannot_be(tangent, f)


@pytest.mark.parametrize("f", [f for f in TANGENT.values() if f.name != "from_ball"], ids=lambda f: f.name)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_vectors_that_are_not_finite_are_refused(f, value):
    laws.refuses_vectors_not_finite(tangent, f, value)
