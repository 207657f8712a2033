"""Squared Euclidean distances and the clipping of norms; the laws are asked in `test_laws.py`."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import geomdml
from geomdml import euclidean
from geomdml.testing import strategies

DTYPE = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def test_squared():
    x, y = torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[3.0, 4.0]])
    torch.testing.assert_close(euclidean.pairwise_dist(x, y, squared=True), torch.tensor([[25.0], [0.0]]))


def test_squared_gradcheck():
    x, y = (torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(n)) for n in (2, 4))
    inputs = (x.requires_grad_(), y.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: euclidean.pairwise_dist(a, b, squared=True), inputs)


@pytest.mark.parametrize("function", [euclidean.dist, euclidean.pairwise_dist], ids=lambda f: f.__name__)
def test_refusals(function):
    good = torch.zeros(2, 3)
    with pytest.raises(TypeError, match=r"y has dtype torch\.int64"):
        function(good, good.long())
    with pytest.raises(TypeError, match="x is a list"):
        function([[0.0]], good)
    with pytest.raises(ValueError, match=r"x \(2, 3\), y \(2, 4\)"):
        function(good, torch.zeros(2, 4))


@DTYPE
@given(st.data(), st.floats(1e-3, 1e3))
def test_clip_norm_cuts_what_is_longer_and_nothing_else(dtype, data, max_norm):
    v, _ = data.draw(strategies.tangents(dtype, c=st.just(1.0)))
    length = v.double().norm()
    clipped = geomdml.clip_norm(v, max_norm)
    if length <= max_norm * (1 - 1e-15):
        assert torch.equal(clipped, v)
    elif length > max_norm:
        torch.testing.assert_close(clipped.double(), v.double() * max_norm / length, rtol=2e-7, atol=0)


@DTYPE
def test_clip_norm_has_the_gradient_of_the_identity_inside_and_at_zero(dtype):
    for v in (torch.zeros(3, dtype=dtype), torch.full((3,), 0.1, dtype=dtype)):
        jacobian = torch.autograd.functional.jacobian(lambda v: geomdml.clip_norm(v, 1.0), v)
        torch.testing.assert_close(jacobian, torch.eye(3, dtype=dtype))


def test_clip_norm_gradcheck_outside():
    v = torch.tensor([[3.0, -4.0, 1.0], [0.1, 0.2, 0.3]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: geomdml.clip_norm(v, 1.0), (v,))


def test_clip_norm_at_infinity_clips_nothing():
    v = torch.tensor([3e30, -4e30])
    assert torch.equal(geomdml.clip_norm(v, math.inf), v)


@pytest.mark.parametrize("max_norm", [0.0, -1.0, math.nan])
def test_clip_norm_refuses_a_radius_that_is_none(max_norm):
    with pytest.raises(ValueError, match="max_norm = "):
        geomdml.clip_norm(torch.zeros(2), max_norm)
