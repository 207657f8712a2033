"""What the Lorentz model does besides keeping the laws, for which see `test_laws.py`."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml import lorentz
from geomdml._core.numerics import direction
from geomdml.testing import laws, strategies
from geomdml.testing.laws import LORENTZ


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
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
