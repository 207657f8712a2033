"""What the tangent chart does besides keeping the laws, for which see `test_laws.py`."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml import tangent
from geomdml.testing import strategies


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


def depth_and_slope(u, v):
    u = u.clone().requires_grad_()
    depth = tangent.lca_depth(u, v, c=1.0)
    return float(depth.detach()), torch.autograd.grad(depth, u)[0]


@pytest.mark.parametrize("offset", [1.1102230246251565e-16, 1e-12, 1e-6])
def test_the_common_ancestor_of_near_duplicates_is_beside_them(offset):
    u = torch.tensor([0.6, 0.8], dtype=torch.float64)
    depth, slope = depth_and_slope(u, u + u.new_tensor([offset, 0.0]))
    assert depth == pytest.approx(2.0, rel=1e-15)  # of u, the nearer end, to first order in the offset
    torch.testing.assert_close(slope, 2 * u, rtol=1e-12, atol=1e-12)


def test_the_slope_between_float32_neighbours_is_that_of_the_nearer_end():
    u = torch.tensor([1.0, 1e-5])
    for neighbour in (torch.inf, -torch.inf):
        _, slope = depth_and_slope(u, torch.stack([u[0], u[1].nextafter(torch.tensor(neighbour))]))
        assert float(slope.norm()) <= 2.0 + 1e-6


@given(st.floats(1e-3, 3.0), st.floats(-1.0, 0.999))
def test_between_points_equally_far_the_foot_is_in_the_middle(radius, share):
    """u = (a, b) and v = (b, a), at an angle of θ: tanh h = tanh A cos(θ/2)."""
    a, b = radius, radius * share
    depth, _ = depth_and_slope(torch.tensor([a, b], dtype=torch.float64), torch.tensor([b, a], dtype=torch.float64))
    norm = math.hypot(a, b)
    expected = math.atanh(math.tanh(2 * norm) * (a + b) / (math.sqrt(2) * norm))
    assert depth == pytest.approx(expected, rel=1e-9, abs=1e-15)
