"""geomdml.tangent under the laws, at the points where floating point goes wrong."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geomdml import tangent
from geomdml.testing import laws
from geomdml.testing.strategies import RELATIONS, curvatures, tangent_pairs, tangents

FEW = (2, 1, 3, 8)
MANY = (64, 384)
DTYPES = [torch.float32, torch.float64]
DISTANCES = [laws.TANGENT["dist"], laws.TANGENT["pairwise_dist"]]
PAIRS = [*DISTANCES, laws.TANGENT["lca_depth"]]
APART = tuple(relation for relation in RELATIONS if relation not in ("duplicate", "origin"))
ids = {"ids": lambda x: getattr(x, "name", str(x).removeprefix("torch."))}


@pytest.mark.parametrize("f", PAIRS, **ids)
@given(pair=tangent_pairs(dimensions=FEW))
def test_float32_is_exact_at_every_radius(f, pair):
    laws.is_exact(tangent, f, pair.x, pair.y, c=pair.c)


@pytest.mark.parametrize("f", PAIRS, **ids)
@settings(max_examples=15)
@given(pair=tangent_pairs(dimensions=MANY, farthest=40.0))
def test_float32_is_exact_in_many_dimensions(f, pair):
    laws.is_exact(tangent, f, pair.x, pair.y, c=pair.c)


@pytest.mark.parametrize("f", DISTANCES, **ids)
@given(pair=tangent_pairs(torch.float64, dimensions=FEW, farthest=100.0))
def test_float64_is_exact(f, pair):
    laws.is_exact(tangent, f, pair.x, pair.y, c=pair.c)


@pytest.mark.parametrize("f", DISTANCES, **ids)
@settings(max_examples=30)
@given(pair=tangent_pairs(dimensions=(2, 3), farthest=30.0, relations=APART))
def test_gradients_are_those_of_the_reference(f, pair):
    laws.gradient_is_exact(tangent, f, pair.x, pair.y, c=pair.c)


@pytest.mark.parametrize("dtype", DTYPES, **ids)
@pytest.mark.parametrize("f", PAIRS, **ids)
@given(data=st.data())
def test_gradients_are_finite_everywhere(f, dtype, data):
    pair = data.draw(tangent_pairs(dtype))
    laws.gradients_are_finite(tangent, f, pair.x, pair.y, c=pair.c)


@pytest.mark.parametrize("f", PAIRS, **ids)
@settings(max_examples=20)
@given(
    pair=tangent_pairs(
        torch.float64,
        nearest=0.3,
        farthest=3.0,
        dimensions=(2, 3, 5),
        relations=("independent",),
        c=curvatures(0.1, 10.0),
    )
)
def test_gradcheck(f, pair):
    laws.gradcheck(tangent, f, pair.x, pair.y, c=pair.c)


@pytest.mark.parametrize("law", [laws.is_symmetric, laws.scales_with_curvature, laws.commutes_with_rotation])
@pytest.mark.parametrize("f", PAIRS, **ids)
@given(pair=tangent_pairs())
def test_laws_of_a_distance(law, f, pair):
    law(tangent, f, pair.x, pair.y, c=pair.c)


@given(data=st.data())
def test_triangle_inequality(data):
    pair = data.draw(tangent_pairs())
    third = data.draw(tangents(dimensions=(len(pair.x),), c=st.just(pair.c)))
    laws.triangle_inequality(tangent, laws.TANGENT["dist"], pair.x, third.x, pair.y, c=pair.c)


@pytest.mark.parametrize("f", DISTANCES, **ids)
@given(pair=tangent_pairs(torch.float64, farthest=1e-2, relations=("independent", "antipode", "duplicate")))
def test_the_limit_of_small_curvature_is_twice_the_euclidean_distance(f, pair):
    laws.has_flat_limit(tangent, f, pair.x, pair.y, c=pair.c)


@settings(max_examples=10)
@given(st.lists(tangents(dimensions=(3,), farthest=20.0, c=st.just(0.5)), min_size=2, max_size=5))
def test_all_pairs_are_the_single_ones(points):
    vectors = torch.stack([point.x for point in points])
    laws.all_pairs_are_exact(tangent, laws.TANGENT["pairwise_dist"], vectors, vectors[1:], c=0.5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], **ids)
@pytest.mark.parametrize("f", PAIRS, **ids)
@given(data=st.data())
def test_sixteen_bits_are_the_float32_of_the_same_numbers(f, dtype, data):
    pair = data.draw(tangent_pairs(dtype, nearest=1e-3, farthest=50.0, c=st.just(0.5)))
    laws.half_is_float32_of_the_rounded(tangent, f, pair.x, pair.y, c=pair.c)


@pytest.mark.parametrize("name", ["dist", "lca_depth"])
@given(pair=tangent_pairs())
def test_leading_dimensions_broadcast(name, pair):
    laws.broadcasts(tangent, laws.TANGENT[name], pair.x, pair.y, c=pair.c)


@pytest.mark.parametrize("dtype", DTYPES, **ids)
@pytest.mark.parametrize("f", list(laws.TANGENT.values()), **ids)
def test_empty_gives_empty(f, dtype):
    laws.empty_gives_empty(tangent, f, dtype=dtype)


@pytest.mark.parametrize("f", PAIRS, **ids)
def test_what_cannot_be_right_is_refused_by_name(f):
    laws.refuses_what_cannot_be(tangent, f)


def test_what_the_published_code_gets_wrong():
    u = torch.tensor([1.5, 0.0])
    assert tangent.lca_depth(u, 2 * u / 3, c=1.0) == 2.0  # the whole geodesic gives 0
    assert tangent.lca_depth(torch.zeros(2), u, c=1.0) == 0.0  # and NaN here
    assert tangent.lca_depth(u, -u, c=1.0) == 0.0
    ray = torch.tensor([60.0, 80.0])
    assert tangent.dist(ray, ray / 2, c=4.0) == 100.0  # on one ray, far out, nothing but the radii counts


def test_second_derivatives_are_refused_and_not_wrong():
    u = torch.tensor([0.3, 0.4], requires_grad=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        torch.autograd.grad(tangent.dist(u, torch.ones(2), c=1.0), u, create_graph=True)
