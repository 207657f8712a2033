"""What the tangent chart does besides keeping the laws, for which see `test_laws.py`."""

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
