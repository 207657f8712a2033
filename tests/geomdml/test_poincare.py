"""geomdml.poincare under the laws, up to the last float inside the ball."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import geomdml
from geomdml import poincare, tangent
from geomdml.testing import laws, oracle
from geomdml.testing.strategies import RELATIONS, curvatures, point_pairs, points, tangent_pairs, tangents

FEW = (2, 1, 3, 8)
DTYPES = [torch.float32, torch.float64]
PAIRS = [laws.BALL["dist"], laws.BALL["pairwise_dist"], laws.BALL["mobius_add"]]
DISTANCES = PAIRS[:2]
SINGLE = [laws.BALL["dist0"], laws.BALL["logmap0"], laws.BALL["conformal_factor"]]
APART = tuple(relation for relation in RELATIONS if relation not in ("duplicate", "origin"))
ids = {"ids": lambda x: getattr(x, "name", str(x).removeprefix("torch."))}


@pytest.mark.parametrize("dtype", DTYPES, **ids)
@pytest.mark.parametrize("f", PAIRS, **ids)
@given(data=st.data())
def test_pairs_are_exact_up_to_the_boundary(f, dtype, data):
    pair = data.draw(point_pairs(dtype, dimensions=FEW))
    laws.is_exact(poincare, f, pair.x, pair.y, c=pair.c)


@pytest.mark.parametrize("f", PAIRS, **ids)
@settings(max_examples=15)
@given(pair=point_pairs(dimensions=(64, 384)))
def test_pairs_are_exact_in_many_dimensions(f, pair):
    laws.is_exact(poincare, f, pair.x, pair.y, c=pair.c)


@pytest.mark.parametrize("dtype", DTYPES, **ids)
@pytest.mark.parametrize("f", SINGLE, **ids)
@given(data=st.data())
def test_functions_of_one_point_are_exact(f, dtype, data):
    point = data.draw(points(dtype, dimensions=FEW))
    laws.is_exact(poincare, f, point.x, c=point.c)


@pytest.mark.parametrize("dtype", DTYPES, **ids)
@given(data=st.data())
def test_expmap0_is_exact_and_stays_inside(dtype, data):
    v = data.draw(tangents(dtype, dimensions=FEW))
    laws.is_exact(poincare, laws.BALL["expmap0"], v.x, c=v.c)
    assert oracle.gap(poincare.expmap0(v.x, c=v.c), v.c) > 0


@pytest.mark.parametrize("f", PAIRS, **ids)
@settings(max_examples=30)
@given(pair=point_pairs(dimensions=(2, 3), relations=APART, nearest=1e-6))
def test_gradients_are_those_of_the_reference(f, pair):
    laws.gradient_is_exact(poincare, f, pair.x, pair.y, c=pair.c)


@pytest.mark.parametrize("dtype", DTYPES, **ids)
@pytest.mark.parametrize("f", PAIRS, **ids)
@given(data=st.data())
def test_gradients_of_pairs_are_finite_everywhere(f, dtype, data):
    pair = data.draw(point_pairs(dtype))
    laws.gradients_are_finite(poincare, f, pair.x, pair.y, c=pair.c)


@pytest.mark.parametrize("f", SINGLE, **ids)
@given(point=points())
def test_gradients_of_one_point_are_finite_everywhere(f, point):
    laws.gradients_are_finite(poincare, f, point.x, c=point.c)


@given(tangents())
def test_gradients_of_expmap0_are_finite_everywhere(v):
    laws.gradients_are_finite(poincare, laws.BALL["expmap0"], v.x, c=v.c)


@pytest.mark.parametrize("f", PAIRS, **ids)
@settings(max_examples=20)
@given(
    pair=point_pairs(
        torch.float64,
        nearest=0.3,
        farthest=2.0,
        dimensions=(2, 3),
        relations=("independent",),
        c=curvatures(0.1, 10.0),
    )
)
def test_gradcheck(f, pair):
    laws.gradcheck(poincare, f, pair.x, pair.y, c=pair.c)


@pytest.mark.parametrize("law", [laws.scales_with_curvature, laws.commutes_with_rotation])
@pytest.mark.parametrize("f", PAIRS, **ids)
@given(pair=point_pairs())
def test_laws_of_pairs(law, f, pair):
    law(poincare, f, pair.x, pair.y, c=pair.c)


@pytest.mark.parametrize("f", DISTANCES, **ids)
@given(pair=point_pairs())
def test_symmetry(f, pair):
    laws.is_symmetric(poincare, f, pair.x, pair.y, c=pair.c)


@given(data=st.data())
def test_triangle_inequality(data):
    pair = data.draw(point_pairs())
    third = data.draw(points(dimensions=(len(pair.x),), c=st.just(pair.c)))
    laws.triangle_inequality(poincare, laws.BALL["dist"], pair.x, third.x, pair.y, c=pair.c)


@pytest.mark.parametrize("dtype", DTYPES, **ids)
@given(data=st.data())
def test_gyrogroup(dtype, data):
    pair = data.draw(point_pairs(dtype))
    laws.left_cancellation(poincare, pair.x, pair.y, c=pair.c)
    laws.has_identity_and_inverse(poincare, pair.x, c=pair.c)


@pytest.mark.parametrize("f", PAIRS, **ids)
@given(pair=point_pairs(torch.float64, farthest=1e-2, relations=("independent", "duplicate", "antipode")))
def test_the_limit_of_small_curvature(f, pair):
    laws.has_flat_limit(poincare, f, pair.x, pair.y, c=pair.c)


@pytest.mark.parametrize("dtype", DTYPES, **ids)
@given(data=st.data())
def test_exp_and_log_are_inverse(dtype, data):
    point, v = data.draw(points(dtype)), data.draw(tangents(dtype, farthest=5.0))
    laws.exp_inverts_log(poincare, point.x, c=point.c)
    laws.log_inverts_exp(poincare, v.x, c=v.c)


@given(st.one_of(points(), tangents()))
def test_project(point):
    laws.projects_inside(poincare, point.x, c=point.c)


@given(tangent_pairs(farthest=4.0))
def test_charts_agree(pair):
    laws.charts_agree(poincare, tangent, pair.x, pair.y, c=pair.c)


@settings(max_examples=10)
@given(st.lists(points(dimensions=(3,), c=st.just(0.5)), min_size=2, max_size=5))
def test_all_pairs_are_the_single_ones(drawn):
    x = torch.stack([point.x for point in drawn])
    laws.all_pairs_are_exact(poincare, laws.BALL["pairwise_dist"], x, x[1:], c=0.5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], **ids)
@pytest.mark.parametrize("f", PAIRS, **ids)
@given(data=st.data())
def test_sixteen_bits_are_the_float32_of_the_same_numbers(f, dtype, data):
    pair = data.draw(point_pairs(dtype, nearest=1e-3, c=st.just(0.5)))
    laws.half_is_float32_of_the_rounded(poincare, f, pair.x, pair.y, c=pair.c)


@pytest.mark.parametrize("name", ["dist", "mobius_add"])
@given(pair=point_pairs())
def test_leading_dimensions_broadcast(name, pair):
    laws.broadcasts(poincare, laws.BALL[name], pair.x, pair.y, c=pair.c)


@pytest.mark.parametrize("dtype", DTYPES, **ids)
@pytest.mark.parametrize("f", list(laws.BALL.values()), **ids)
def test_empty_gives_empty(f, dtype):
    laws.empty_gives_empty(poincare, f, dtype=dtype)


@pytest.mark.parametrize("f", list(laws.BALL.values()), **ids)
def test_what_cannot_be_right_is_refused_by_name(f):
    laws.refuses_what_cannot_be(poincare, f)


@pytest.mark.parametrize("f", [*PAIRS, *SINGLE], **ids)
@pytest.mark.parametrize("outside", [[2.0, 0.0], [1.0, 0.0], [float("nan"), 0.0]], ids=str)
def test_points_outside_the_ball_are_refused_by_name(f, outside):
    laws.refuses_points_outside(poincare, f, torch.tensor(outside), c=1.0)


def test_values_are_checked_when_asked():
    outside = torch.tensor([2.0, 0.0])
    with geomdml.validation(False):
        poincare.dist(outside, outside, c=1.0)
    with geomdml.validation(True), pytest.raises(ValueError, match=r"largest √c‖x‖ = 2"):
        poincare.dist(outside, outside, c=1.0)
