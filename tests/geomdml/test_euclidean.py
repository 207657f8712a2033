"""Squared Euclidean distances and the clipping of norms; the laws are asked in `test_laws.py`."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import geomdml
from geomdml import euclidean, tangent
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


def test_clip_norm_never_returns_the_tensor_it_was_given():
    v = torch.full((2, 3), 0.1)
    geomdml.clip_norm(v, 1.0).zero_()
    assert v.all()


@pytest.mark.parametrize("offset", [1e-8, 1e-12, 1.2e-16])
def test_the_gradient_between_near_duplicates_is_their_direction(offset):
    x = torch.tensor([[0.6, 0.8]], dtype=torch.float64, requires_grad=True)
    y = x.detach() - offset
    (slope,) = torch.autograd.grad(euclidean.pairwise_dist(x, y).sum(), x)
    expected = (x.detach() - y) / (x.detach() - y).norm()
    torch.testing.assert_close(slope, expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize(("x", "y"), [([0.5, 1e-40], [0.5, 0.0]), ([1.0, 1e-7], [1.0, 1.0000001e-7])])
def test_float32_neighbours_have_distance_and_gradient(x, y):
    x, y = torch.tensor([x], requires_grad=True), torch.tensor([y])
    distance = euclidean.pairwise_dist(x, y)
    (slope,) = torch.autograd.grad(distance.sum(), x)
    torch.testing.assert_close(distance.detach(), (x - y)[:, 1:].abs().detach(), rtol=1e-6, atol=0)
    torch.testing.assert_close(slope.abs(), torch.tensor([[0.0, 1.0]]), rtol=0, atol=0)


@pytest.mark.parametrize("pairwise", [euclidean.pairwise_dist, lambda x, y: tangent.pairwise_dist(x, y, c=1.0) / 2])
def test_distances_whose_squares_leave_float64(pairwise):
    x = torch.tensor([[1e200, 0.0], [0.0, 0.0]], dtype=torch.float64)
    assert pairwise(x, -x)[0].tolist() == pytest.approx([2e200, 1e200])


@pytest.mark.parametrize("squared", [False, True])
def test_second_derivatives(squared):
    x, y = (torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(n)) for n in (2, 4))
    inputs = (x.requires_grad_(), y.requires_grad_())
    assert torch.autograd.gradgradcheck(lambda a, b: euclidean.pairwise_dist(a, b, squared=squared), inputs)


@pytest.mark.parametrize("length", [5e-324, 1e-320, 1e-310, 1e-290])
def test_the_gradient_is_a_direction_down_to_the_least_number(length):
    for function in (euclidean.dist, euclidean.pairwise_dist):
        x = torch.tensor([[length, 0.0]], dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(function(x, torch.zeros_like(x)).sum(), x)
        torch.testing.assert_close(gradient, torch.tensor([[1.0, 0.0]], dtype=torch.float64), rtol=4e-16, atol=0)
