"""Hyperplanes: signed distances to fifty digits, what reflections and limits demand, derivatives of two orders."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from geomdml import hyperplanes, tangent
from geomdml.testing import oracle, strategies

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
SMALL = {"dimensions": (2, 1, 3, 8)}


def signed(u, normal, offset, c):
    return hyperplanes.signed_dist(u, normal.unsqueeze(0), offset.unsqueeze(0), c=c).squeeze(-1)


@st.composite
def triples(draw, dtype, **options):
    u, normal, c = draw(strategies.tangent_pairs(dtype, **SMALL, **options))
    assume(normal.any())
    share = draw(st.sampled_from([0.0, 1e-10, 0.3, 1.0, 1.0 + 2**-20, 3.0]) | st.floats(0.1, 2.0))
    return u, normal, draw(st.sampled_from([-1, 1])) * share * u.norm(), c


@DTYPES
@settings(max_examples=60)
@given(st.data())
def test_distances_are_those_of_points_moved_by_a_rounding(dtype, data):
    """|d − exact| ≤ 1e-12 of d, or what a turn by 2e-16 or a step of 1e-15 of the radii makes of it."""
    u, normal, offset, c = data.draw(triples(dtype))
    found = float(signed(u.double(), normal.double(), offset.double(), c))
    exact = oracle.signed_dist(u, normal, offset[None], c=c)
    A, rho = (2 * math.sqrt(c) * float(x) for x in (u.double().norm(), offset.double().abs()))
    slope = 1 / (1 + float(exact) ** 2 * c) ** 0.5 if abs(float(exact)) < 1 else 1.0
    turn = math.exp(min(600.0, A + rho - abs(float(exact)) * math.sqrt(c))) if A + rho < 600 else math.inf
    allowed = 1e-12 * abs(float(exact)) + slope * (1e-15 * (A + rho) + 2e-16 * turn * _sine(u, normal)) / math.sqrt(c)
    assert abs(found - float(exact)) <= allowed
    rounded = signed(u, normal, offset, c)
    assert rounded.dtype == dtype and float(rounded) == pytest.approx(found, rel=1e-6, abs=1e-30)


def _sine(u, v):
    """How far the cosine of the angle moves when a direction turns, at least by what a second turn does."""
    u, v = u.double() / (u.double().norm() or 1.0), v.double() / v.double().norm()
    return float((u - v).norm() * (u + v).norm() / 2) + 2e-16


@given(st.data())
def test_on_the_ray_of_the_normal_it_is_the_way_along_it(data):
    u, c = data.draw(strategies.tangents(torch.float32, nearest=1e-3))
    assume(u.any())
    for share in (-2.0, 0.0, 0.5, 1.0, 2.0):
        offset = share * u.double().norm()
        expected = 2 * (1 - share) * float(u.double().norm())
        assert float(signed(u.double(), u.double(), offset, c)) == pytest.approx(
            expected, rel=1e-9, abs=1e-12 * abs(float(offset))
        )


@settings(max_examples=10)
@given(st.data())
def test_the_foot_of_a_hyperplane_lies_on_it_and_its_distance_is_that_to_the_nearest_point(data):
    draw = strategies.tangent_pairs(
        torch.float64, nearest=0.05, farthest=2.0, relations=strategies.APART, dimensions=(2,)
    )
    u, normal, c = data.draw(draw)
    offset = torch.tensor(0.4, dtype=torch.float64)
    foot = offset * normal / normal.norm()
    assert abs(float(signed(foot, normal, offset, c))) < 1e-12
    across = torch.stack([-normal[1], normal[0]]) / normal.norm()
    ways = torch.linspace(-6, 6, 1001, dtype=torch.float64).unsqueeze(-1) / math.sqrt(c)
    points = tangent.expmap(foot, ways * across, c=c)  # the hyperplane: the geodesic through the foot across the normal
    assert signed(points, normal, offset, c).abs().max() < 1e-9 * math.exp(2 * 6 + 2)
    nearest = float(tangent.dist(u, points, c=c).min())
    assert abs(float(signed(u, normal, offset, c))) == pytest.approx(nearest, rel=1e-3, abs=1e-3 / math.sqrt(c))


@given(st.data())
def test_mirror_images_are_as_far_on_the_other_side(data):
    u, normal, offset, c = data.draw(triples(torch.float64))
    d = signed(u, normal, offset, c)
    torch.testing.assert_close(signed(u, -normal, -offset, c), -d, rtol=1e-15, atol=0)
    torch.testing.assert_close(signed(-u, -normal, offset, c), d, rtol=1e-15, atol=0)
    torch.testing.assert_close(signed(u, 4 * normal, offset, c), d, rtol=1e-12, atol=1e-12 * float(d.abs()))


def test_flat_limit():
    u, normal = torch.randn(2, 5, 3, dtype=torch.float64).unbind()
    offsets = torch.randn(5, dtype=torch.float64)
    unit = normal / normal.norm(dim=1, keepdim=True)
    torch.testing.assert_close(
        hyperplanes.signed_dist(u, normal, offsets, c=1e-12), 2 * (u @ unit.T - offsets), rtol=1e-6, atol=1e-9
    )


def test_gradients_of_two_orders_are_exact():
    torch.manual_seed(0)
    u, normals = torch.randn(3, 4, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    offsets, c = torch.tensor([0.7, -0.4], dtype=torch.float64), torch.tensor(0.6, dtype=torch.float64)
    inputs = tuple(x.requires_grad_() for x in (u, normals, offsets, c))
    assert torch.autograd.gradcheck(lambda *x: hyperplanes.signed_dist(*x[:3], c=x[3]), inputs)
    assert torch.autograd.gradgradcheck(lambda *x: hyperplanes.signed_dist(*x[:3], c=x[3]), inputs)
    near = normals.detach()[:1] * 1.5 + 1e-3
    assert torch.autograd.gradcheck(
        lambda x: hyperplanes.signed_dist(x, normals, offsets, c=0.6), near.requires_grad_()
    )


@given(st.data())
def test_gradients_are_finite_everywhere(data):
    u, normal, offset, c = data.draw(triples(torch.float32))
    inputs = [x.clone().requires_grad_() for x in (u, normal, offset, torch.tensor(c))]
    signed(*inputs).backward()
    assert all(x.grad.isfinite().all() for x in inputs)


def test_on_the_hyperplane_the_gradient_is_its_normal():
    u = torch.zeros(2, requires_grad=True)
    signed(u, torch.tensor([0.0, 3.0]), torch.tensor(0.0), 1.0).backward()
    assert u.grad.tolist() == [0.0, 2.0]
    u = torch.tensor([1.0, 0.0], requires_grad=True)
    signed(u, torch.tensor([0.0, 3.0]), torch.tensor(0.0), 1.0).backward()
    torch.testing.assert_close(u.grad, torch.tensor([0.0, math.sinh(2.0)]))


def test_it_compiles_and_maps():
    u, normals, offsets = torch.randn(6, 3), torch.randn(4, 3), torch.randn(4)
    expected = hyperplanes.signed_dist(u, normals, offsets, c=0.5)
    compiled = torch.compile(lambda *x: hyperplanes.signed_dist(*x, c=0.5), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(u, normals, offsets), expected)
    mapped = torch.func.vmap(lambda x: hyperplanes.signed_dist(x, normals, offsets, c=0.5))(u)
    torch.testing.assert_close(mapped, expected)


def test_mistakes_are_named():
    u, normals, offsets = torch.ones(2), torch.ones(3, 2), torch.zeros(3)
    with pytest.raises(ValueError, match=r"expected \(\.\.\., D\), \(M, D\) and \(M,\)"):
        hyperplanes.signed_dist(u, normals, offsets[:2], c=1.0)
    with pytest.raises(ValueError, match="one of length 0"):
        hyperplanes.signed_dist(u, 0 * normals, offsets, c=1.0)
    with pytest.raises(ValueError, match="c = 0"):
        hyperplanes.signed_dist(u, normals, offsets, c=0.0)
    with pytest.raises(TypeError, match="floating"):
        hyperplanes.signed_dist(u, normals.long(), offsets, c=1.0)
