"""The Poincaré ball keeps the laws of hyperbolic geometry up to the last float inside."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import geomdml
from geomdml import poincare
from geomdml.testing import laws, strategies
from geomdml.testing.laws import BALL

CURVED = 3.0  # radius within which rounding a point does not blur it
FLAT = st.just(1e-12)
SMALL = (2, 1, 3, 5)
EACH = pytest.mark.parametrize("f", BALL.values(), ids=BALL.keys())
DISTANCE = pytest.mark.parametrize("f", [BALL["dist"], BALL["pairwise_dist"]], ids=lambda f: f.name)
DTYPE = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
WALKS = ("expmap", "geodesic", "mobius_scalar_mul", "mobius_matvec")  # their slope vanishes far out
CANCELLING = ("multiple", "antipode", "near-antipode")
HALF = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)


@EACH
@DTYPE
@given(st.data())
def test_values_are_exact(f, dtype, data):
    *vectors, c = data.draw(strategies.inputs(f, dtype))
    laws.is_exact(poincare, f, *vectors, c=c)


@EACH
@given(st.data())
def test_gradients_are_exact(f, data):
    options = {"dimensions": SMALL, "relations": strategies.DISTINCT}
    if f.reference.kinds:
        options |= {
            "dimensions": SMALL[:3],
            "nearest": 1e-3,
            "farthest": CURVED if f.name in WALKS else strategies.FARTHEST_POINT,
        }
    *vectors, c = data.draw(strategies.inputs(f, **options))
    laws.gradient_is_exact(poincare, f, *vectors, c=c)


@EACH
@given(st.data())
def test_gradients_are_exact_in_float64(f, data):
    options = {"farthest": CURVED, "dimensions": SMALL, "relations": strategies.DISTINCT}
    if f.reference.kinds:  # near relations reach the boundary, where float64 has no digits to spare
        relations = [relation for relation in strategies.DISTINCT if not relation.startswith("near")]
        options |= {
            "dimensions": SMALL[:3],
            "nearest": 1e-3,
            "farthest": 1.0 if f.name in WALKS else CURVED,
            "relations": relations,
        }
    *vectors, c = data.draw(strategies.inputs(f, torch.float64, **options))
    laws.gradient_is_exact(poincare, f, *vectors, c=c, bar=1e-9)


@EACH
@given(st.data())
def test_gradcheck(f, data):
    options = {"nearest": 0.1, "farthest": 1.0, "dimensions": (2, 3), "relations": strategies.APART}
    *vectors, c = data.draw(strategies.inputs(f, torch.float64, c=strategies.curvatures(0.2, 5.0), **options))
    laws.gradcheck(poincare, f, *vectors, c=c)


@EACH
@DTYPE
@given(st.data())
def test_gradients_are_finite(f, dtype, data):
    *vectors, c = data.draw(strategies.inputs(f, dtype))
    laws.gradients_are_finite(poincare, f, *vectors, c=c)


@EACH
@DTYPE
@given(st.data(), st.integers(-4, 4))
def test_scaling_between_curvatures(f, dtype, data, exponent):
    *vectors, c = data.draw(strategies.inputs(f, dtype))
    laws.scales_with_curvature(poincare, f, *vectors, c=c, exponent=exponent)


@EACH
@DTYPE
@given(st.data())
def test_flat_limit(f, dtype, data):
    relations = [relation for relation in strategies.RELATIONS if not (f.sums and relation in CANCELLING)]
    *vectors, c = data.draw(strategies.inputs(f, dtype, c=FLAT, farthest=1e-6, relations=relations))
    laws.has_flat_limit(poincare, f, *vectors, c=c)


@EACH
@DTYPE
@given(st.data(), st.integers(0, 999))
def test_rotations(f, dtype, data, seed):
    *vectors, c = data.draw(strategies.inputs(f, dtype))
    laws.commutes_with_rotation(poincare, f, *vectors, c=c, seed=seed)


@EACH
@HALF
@given(st.data())
def test_half_precision(f, dtype, data):
    options = {"nearest": 1e-3, "farthest": CURVED, "c": strategies.curvatures(0.01, 100.0)}
    *vectors, c = data.draw(strategies.inputs(f, dtype, **options))
    laws.half_is_float32_of_the_rounded(poincare, f, *vectors, c=c)


@pytest.mark.parametrize("f", [f for f in BALL.values() if f.name != "pairwise_dist"], ids=lambda f: f.name)
@given(st.data())
def test_leading_dimensions_broadcast(f, data):
    *vectors, c = data.draw(strategies.inputs(f))
    laws.broadcasts(poincare, f, *vectors, c=c)


@DISTANCE
@DTYPE
@given(st.data())
def test_distances_are_symmetric(f, dtype, data):
    x, y, c = data.draw(strategies.point_pairs(dtype))
    laws.is_symmetric(poincare, f, x, y, c=c)


@DISTANCE
@DTYPE
@given(st.data(), st.floats(-1, 1))
def test_triangle_inequality(f, dtype, data, share):
    x, z, c = data.draw(strategies.point_pairs(dtype))
    for y in (share * x, 0.5 * (x + z), 0 * x):
        laws.triangle_inequality(poincare, f, x, y, z, c=c)


@DTYPE
@given(st.data())
def test_all_pairs(dtype, data):
    x, y, c = data.draw(strategies.point_pairs(dtype, farthest=8.0))
    laws.all_pairs_are_exact(poincare, BALL["pairwise_dist"], torch.stack([x, y, -x]), torch.stack([y, x]), c=c)


@DTYPE
@given(st.data())
def test_left_cancellation(dtype, data):
    x, y, c = data.draw(st.one_of(strategies.point_pairs(dtype), strategies.point_pairs(dtype, farthest=CURVED)))
    laws.left_cancellation(poincare, x, y, c=c)


@DTYPE
@given(st.data())
def test_identity_and_inverse(dtype, data):
    x, c = data.draw(strategies.points(dtype))
    laws.has_identity_and_inverse(poincare, x, c=c)


@DTYPE
@given(st.data())
def test_exp_and_log_invert_each_other(dtype, data):
    x, c = data.draw(strategies.points(dtype))
    laws.exp_inverts_log(poincare, x, c=c)
    v, c = data.draw(strategies.tangents(dtype, farthest=5.0))
    laws.log_inverts_exp(poincare, v, c=c)


@DTYPE
@given(st.data())
def test_project(dtype, data):
    for strategy in (strategies.points, strategies.tangents):
        x, c = data.draw(strategy(dtype))
        laws.projects_inside(poincare, x, c=c)


@pytest.mark.parametrize("name", ["expmap0", "mobius_add"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@given(st.data())
def test_results_lie_inside(name, dtype, data):
    options = {"nearest": 1e-3, "c": strategies.curvatures(0.01, 100.0)}
    *vectors, c = data.draw(strategies.inputs(BALL[name], dtype, **options))
    laws.stays_inside(poincare, BALL[name], *vectors, c=c)


@EACH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_nothing_gives_nothing(f, dtype):
    laws.empty_gives_empty(poincare, f, dtype=dtype)


@EACH
def test_refusals(f):
    laws.refuses_what_cannot_be(poincare, f)


@pytest.mark.parametrize("f", [f for f in BALL.values() if f.name != "expmap0"], ids=lambda f: f.name)
@pytest.mark.parametrize("outside", [[1.0, 0.0], [0.8, 0.7], [torch.inf, 0.0], [torch.nan, 0.0]])
def test_points_outside_are_refused(f, outside):
    laws.refuses_points_outside(poincare, f, torch.tensor(outside), c=1.0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_tangent_vectors_that_are_not_finite_are_refused(value):
    laws.refuses_vectors_not_finite(poincare, BALL["expmap0"], value)


def test_a_refusal_says_how_far_outside_and_what_to_do():
    with pytest.raises(ValueError, match=r"y has 1 points outside .* = 1\.5.*project"):
        poincare.dist(torch.zeros(2), torch.tensor([1.5, 0.0]), c=1.0)


def test_leading_dimensions_that_do_not_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"x \(2, 3\), y \(5, 3\)"):
        poincare.dist(torch.zeros(2, 3), torch.zeros(5, 3), c=1.0)


def test_values_go_unchecked_when_told_so():
    with geomdml.validation(False):
        assert poincare.dist(torch.tensor([2.0, 0.0]), torch.zeros(2), c=1.0).isnan()


def test_antipodes_near_the_boundary():
    """The example of the field's errors: geoopt says 16.64, Hyp-ViT 12.20, HypLL infinity."""
    x = torch.tensor([0.9999, 0.0])
    torch.testing.assert_close(poincare.dist(x, -x, c=1.0), torch.tensor(19.8065), atol=1e-4, rtol=0)
