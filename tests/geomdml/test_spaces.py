"""The spaces offer the geometry of their chart, move between charts, and learn their curvature."""

import itertools
import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml import euclidean, lorentz, poincare, tangent, validation
from geomdml.losses import MultiProxyAnchorLoss, SoftTripleLoss
from geomdml.spaces import GEOMETRY, Chart, Euclidean, Hyperbolic
from geomdml.testing import strategies

CHARTS = pytest.mark.parametrize(
    ("chart", "functions", "pairs"),
    [
        ("tangent", tangent, strategies.tangent_pairs),
        ("ball", poincare, strategies.point_pairs),
        ("lorentz", lorentz, strategies.lorentz_pairs),
    ],
    ids=["tangent", "ball", "lorentz"],
)


@CHARTS
@given(st.data())
def test_a_space_is_its_chart(chart, functions, pairs, data):
    x, y, c = data.draw(pairs())
    space = Hyperbolic(c=c, chart=chart)
    assert torch.equal(space.dist(x, y), functions.dist(x, y, c=c))
    assert torch.equal(space.dist0(x), functions.dist(x, torch.zeros_like(x), c=c))
    assert torch.equal(space.pairwise_dist(x[None], y[None]), functions.pairwise_dist(x[None], y[None], c=c))


@CHARTS
@given(st.data())
def test_a_space_has_the_maps_of_its_chart(chart, functions, pairs, data):
    x, y, c = data.draw(pairs(farthest=3.0))
    space = Hyperbolic(c=c, chart=chart)
    v, points = space.logmap(x, y), torch.stack([x, y])
    assert torch.equal(v, functions.logmap(x, y, c=c))
    assert torch.equal(space.expmap(x, v), functions.expmap(x, v, c=c))
    assert torch.equal(space.mobius_add(x, y), functions.mobius_add(x, y, c=c))
    assert torch.equal(space.geodesic(x, y, 0.3), functions.geodesic(x, y, 0.3, c=c))
    weights = torch.tensor([1.0, 3.0])
    assert torch.equal(space.midpoint(points, weights), functions.midpoint(points, weights, c=c))
    assert torch.equal(space.project(x), x)
    torch.testing.assert_close(space.expmap0(space.logmap0(x)), x, rtol=1e-5, atol=0)
    assert not space.dist(space.origin(len(x), dtype=x.dtype), torch.zeros_like(x))


@given(st.data())
def test_the_geometry_is_the_same_in_every_chart(data):
    u, v, c = data.draw(strategies.tangent_pairs(torch.float64, nearest=1e-3, farthest=2.0))
    flat = Hyperbolic(c=c)
    length = float(torch.maximum(u.norm(), v.norm()))
    for space in (Hyperbolic(c=c, chart="ball"), Hyperbolic(c=c, chart="lorentz")):
        x, y = space.expmap0(u), space.expmap0(v)
        results = {
            "mobius_add": (space.mobius_add(x, y), flat.mobius_add(u, v)),
            "geodesic": (space.geodesic(x, y, 0.3), flat.geodesic(u, v, 0.3)),
            "midpoint": (space.midpoint(torch.stack([x, y])), flat.midpoint(torch.stack([u, v]))),
            "expmap": (space.expmap(x, space.logmap(x, y)), v),
        }
        for found, expected in results.values():
            torch.testing.assert_close(space.logmap0(found), expected, rtol=1e-8, atol=1e-9 * length)
        gap = 1 - c * x.square().sum() if space.chart == "ball" else 1.0  # transport from the origin to x, in the ball
        torch.testing.assert_close(space.logmap(x, y), gap * flat.logmap(u, v), rtol=1e-8, atol=1e-9 * length)
        torch.testing.assert_close(2 * flat.logmap(u, v).norm(), flat.dist(u, v), rtol=1e-12, atol=0)


@pytest.mark.parametrize("chart", get_args(Chart))
@pytest.mark.parametrize("f", ["mobius_add", "expmap", "logmap", "geodesic", "midpoint", "expmap0", "logmap0"])
def test_a_learned_curvature_learns_through_the_maps(chart, f):
    x, y = torch.tensor([0.6, 0.5]), torch.tensor([-0.5, 0.6])
    arguments = {"geodesic": (x, y, 0.3), "midpoint": (torch.stack([x, y]),), "expmap0": (x,), "logmap0": (x,)}
    space = Hyperbolic(c=0.5, chart=chart, learnable=True)
    value = getattr(space, f)(*arguments.get(f, (x, y)))
    if chart == "tangent" and f.endswith("0"):
        assert torch.equal(value, x)
    else:
        value.norm().backward()
        assert space.log_c.grad is not None and space.log_c.grad != 0


@pytest.mark.parametrize("chart", ["tangent", "ball", "lorentz"])
def test_what_a_map_gives_back_may_be_written_to(chart):
    """Also where it is what was given: an edit in place must not reach the caller's points."""
    space, x = Hyperbolic(c=1.0, chart=chart), torch.tensor([[0.1, 0.2], [0.0, 0.0]])
    for moved in (space.expmap0(x), space.logmap0(x), space.project(x), space.to(chart, x)):
        assert moved.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()


def test_project_brings_vectors_into_the_ball_and_leaves_the_other_charts_alone():
    far = torch.tensor([30.0, 40.0])
    torch.testing.assert_close(Hyperbolic(c=1.0, chart="ball").project(far), torch.tensor([0.6, 0.8]))
    for chart in ("tangent", "lorentz"):
        assert torch.equal(Hyperbolic(c=1.0, chart=chart).project(far), far)


@given(st.data())
def test_euclidean_space(data):
    x, y, _ = data.draw(strategies.tangent_pairs())
    assert torch.equal(Euclidean().dist(x, y), euclidean.dist(x, y))
    assert torch.equal(Euclidean().pairwise_dist(x[None], y[None]), euclidean.pairwise_dist(x[None], y[None]))


@given(st.data())
def test_distances_stay_when_the_chart_changes(data):
    """Along every way of one or two moves, and back at the start after three."""
    u, v, c = data.draw(strategies.tangent_pairs(torch.float64, nearest=1e-3, farthest=3.0))
    spaces = [Hyperbolic(c=c, chart=chart) for chart in get_args(Chart)]
    expected = spaces[0].dist(u, v)
    for first, second in itertools.permutations(spaces, 2):
        once = [spaces[0].to(first.chart, w) for w in (u, v)]
        twice = [first.to(second.chart, w) for w in once]
        for space, points in ((first, once), (second, twice)):
            torch.testing.assert_close(space.dist(*points), expected, rtol=1e-9, atol=1e-11 / math.sqrt(c))
        torch.testing.assert_close(second.to("tangent", twice[0]), u, rtol=1e-10, atol=0)
    assert all(torch.equal(space.to(space.chart, u), u) for space in spaces)


@pytest.mark.parametrize("chart", get_args(Chart))
def test_a_learned_curvature_is_positive_and_has_the_gradient_of_c(chart):
    x, y = torch.tensor([0.8, 0.5]), torch.tensor([-0.5, 0.6])
    space = Hyperbolic(c=0.5, chart=chart, learnable=True)
    space.dist(x, y).backward()
    c = torch.tensor(0.5, requires_grad=True)
    GEOMETRY[chart].dist(x, y, c=c).backward()
    assert c.grad is not None and space.log_c.grad is not None and space.log_c.grad != 0
    torch.testing.assert_close(space.log_c.grad, c.grad * c.detach())  # d/dlog c = c d/dc
    with torch.no_grad():
        space.log_c.fill_(-20.0)
        assert float(space.c) > 0


def test_a_learned_curvature_learns_through_every_chart():
    """d(d)/d(log c) of two tangent vectors is the same whichever charts their points were moved through."""
    u, v = torch.tensor([[1.0, 0.5], [-0.5, 1.0]], dtype=torch.float64)
    slopes = []
    for charts in (("tangent",), *itertools.permutations(get_args(Chart))):
        space = Hyperbolic(c=0.5, learnable=True).to(torch.float64)
        x, y = u, v
        for chart in charts:
            x, y = space.to(chart, x), space.to(chart, y)
            space.chart = chart
        space.dist(x, y).backward()
        slopes.append(space.log_c.grad)
    torch.testing.assert_close(torch.stack(slopes), slopes[0].expand(len(slopes)))


def test_only_a_learned_curvature_is_a_parameter():
    assert [name for name, _ in Hyperbolic(c=0.5, learnable=True).named_parameters()] == ["log_c"]
    assert list(Hyperbolic(c=0.5).parameters()) == []


def test_a_space_moves_between_dtypes_as_a_module_does():
    space = Hyperbolic(c=0.5, learnable=True)
    assert space.to(torch.float64) is space
    assert space.log_c.dtype == torch.float64


@pytest.mark.parametrize("c", [0.0, -1.0, math.nan, math.inf])
def test_a_curvature_that_is_none_is_refused(c):
    with pytest.raises(ValueError, match="c = "):
        Hyperbolic(c=c)


def test_an_unknown_chart_is_refused():
    with pytest.raises(ValueError, match="chart = 'klein'; expected one of 'tangent', 'ball', 'lorentz'"):
        Hyperbolic(chart="klein")
    with pytest.raises(ValueError, match="chart = 'klein'"):
        Hyperbolic().to("klein", torch.zeros(2))


def test_representations():
    assert repr(Euclidean()) == "Euclidean()"
    assert repr(Hyperbolic(c=0.5, learnable=True)) == "Hyperbolic(c=0.5, chart='tangent', learnable=True)"


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("learned", [False, True])
def test_the_curvature_travels_in_the_state(learnable, learned):
    space = Hyperbolic(2.0, learnable=learnable)
    space.load_state_dict(Hyperbolic(0.1, learnable=learned).state_dict())
    assert space.curvature == pytest.approx(0.1, rel=1e-6)


def test_a_state_without_curvature_leaves_a_fixed_one_as_it_is():
    space = Hyperbolic(2.0)
    space.load_state_dict({})  # of a version that did not keep it
    assert space.curvature == 2.0


def test_a_curvature_is_a_number_of_any_library():
    assert Hyperbolic(np.float32(0.5)).curvature == 0.5
    u = torch.ones(2)
    assert torch.equal(tangent.dist(u, -u, c=np.float32(0.5)), tangent.dist(u, -u, c=0.5))
    with pytest.raises(TypeError, match="c is a str"):
        tangent.dist(u, u, c="1")


@pytest.mark.parametrize("loss", [SoftTripleLoss, MultiProxyAnchorLoss])
def test_learned_proxies_refuse_a_chart_with_a_boundary(loss):
    with pytest.raises(ValueError, match=r"has a boundary that learned points cross; expected chart=\"tangent\""):
        loss(3, 8, space=Hyperbolic(chart="ball"))


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize(
    "state", [{"c": -1.0}, {"c": 0.0}, {"c": math.nan}, {"log_c": math.nan}, {"log_c": 1e4}], ids=str
)
def test_a_state_with_an_invalid_curvature_is_refused(learnable, state):
    with pytest.raises(ValueError, match=r"c = .*; expected a finite number above 0"):
        Hyperbolic(2.0, learnable=learnable).load_state_dict({k: torch.tensor(v) for k, v in state.items()})


def test_what_is_stored_is_checked_where_a_state_has_both_keys():
    state = {"c": torch.tensor(2.0), "log_c": torch.tensor(math.nan)}
    with pytest.raises(ValueError, match="expected a finite number above 0"):
        Hyperbolic(1.0, learnable=True).load_state_dict(state)


def test_a_learned_curvature_keeps_its_dtype_when_a_fixed_one_is_assigned():
    space = Hyperbolic(2.0, learnable=True)
    space.load_state_dict(Hyperbolic(0.1).state_dict(), assign=True)
    assert space.log_c.dtype == torch.float32 and space.curvature == pytest.approx(0.1, rel=1e-6)


def test_of_two_curvatures_in_a_state_a_space_takes_its_own():
    state = {"c": torch.tensor(2.0), "log_c": torch.tensor(0.0)}
    fixed, learned = Hyperbolic(), Hyperbolic(learnable=True)
    fixed.load_state_dict(state)
    learned.load_state_dict(state)
    assert (fixed.curvature, learned.curvature) == (2.0, 1.0)


@pytest.mark.parametrize("space", [Euclidean(), *(Hyperbolic(0.5, chart=chart) for chart in GEOMETRY)], ids=str)
def test_nan_is_not_taken_for_a_distance_of_0(space):
    """On a GPU and in torch.compile values are not checked: what is wrong must stay visible."""
    x, y = torch.tensor([[math.nan, 0.1]]), torch.tensor([[0.1, 0.2], [0.0, 0.0]])
    with validation(False):
        for found in (space.dist(x, y), space.dist(x, x), space.pairwise_dist(x, y), space.pairwise_dist(x, x)):
            assert found.isnan().all()
