"""Entailment cones: angles to fifty digits at every radius, what cones hold, and where there is no angle."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from geomdml import cones, tangent
from geomdml.testing import laws, oracle, strategies
from geomdml.testing.primitives import Primitive

ANGLE = Primitive("exterior_angle", oracle.exterior_angle, degree=0)
APERTURE = Primitive("half_aperture", oracle.half_aperture, vectors=1, degree=0)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


@DTYPES
@settings(max_examples=25)
@given(st.data())
def test_exterior_angles_are_exact(dtype, data):
    u, v, c = data.draw(strategies.tangent_pairs(dtype))
    laws.is_exact(cones, ANGLE, u, v, c=c)


@DTYPES
@settings(max_examples=15)
@given(st.data())
def test_their_gradients_are_exact(dtype, data):
    near = {"nearest": 1e-3, "relations": strategies.APART, "dimensions": (2, 3, 8)}
    u, v, c = data.draw(strategies.tangent_pairs(dtype, **near))
    laws.gradient_is_exact(cones, ANGLE, u, v, c=c)


@DTYPES
@settings(max_examples=15)
@given(st.data())
def test_apertures_and_their_gradients_are_exact(dtype, data):
    u, c = data.draw(
        strategies.tangents(dtype, farthest=40.0, dimensions=(2, 1, 3, 8))
    )  # beyond, the angle is below any float32
    sine = 0.2 / math.sinh(2 * math.sqrt(c) * float(u.double().norm()) or 1e-300)
    assume(abs(sine - 1) > 1e-6)  # at the kink a rounding of the radius shows as its square root
    laws.is_exact(cones, APERTURE, u, c=c)
    laws.gradient_is_exact(cones, APERTURE, u, c=c)


@given(st.data())
def test_gradients_are_finite_everywhere(data):
    u, v, c = data.draw(strategies.tangent_pairs())
    laws.gradients_are_finite(cones, ANGLE, u, v, c=c)
    laws.gradients_are_finite(cones, APERTURE, u, c=c)
    laws.gradients_are_finite(cones, Primitive("entailment", oracle.exterior_angle), u, v, c=c)


def test_without_an_angle_value_and_gradient_are_zero():
    zero, u = torch.zeros(2), torch.tensor([1.0, 2.0])
    for a, b in ((u, u), (zero, u), (zero, zero)):
        a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
        angle = cones.exterior_angle(a, b, c=1.0)
        angle.backward()
        assert angle == 0 and not a.grad.any() and not b.grad.any()
    assert cones.exterior_angle(u, zero, c=1.0) == pytest.approx(math.pi)


@given(st.data())
def test_the_three_angles_leave_an_area(data):
    """α + β + θ < π, and the defect is the area of the triangle: by half of it (l'Huilier) from the three sides."""
    draw = strategies.tangent_pairs(torch.float64, nearest=0.1, farthest=2.0, relations=strategies.APART)
    u, v, c = data.draw(draw)
    assume(not torch.equal(u, v))
    A, B, side = (math.sqrt(c) * float(tangent.dist(x, y, c=c)) for x, y in ((u, 0 * u), (v, 0 * v), (u, v)))
    at_origin = math.acos(max(-1.0, min(1.0, float(u @ v / (u.norm() * v.norm())))))
    at_u, at_v = (math.pi - float(cones.exterior_angle(x, y, c=c)) for x, y in ((u, v), (v, u)))
    half = (A + B + side) / 2
    product = math.tanh(half / 2) * math.prod(math.tanh(max(0.0, half - each) / 2) for each in (A, B, side))
    assert math.pi - at_origin - at_u - at_v == pytest.approx(4 * math.atan(math.sqrt(product)), abs=2e-6)


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.floats(0.1, 4.0), st.floats(0.05, 0.3))
def test_cones_are_transitive(seed, c, k):
    """What lies in the cone of a point that lies in the cone of u lies in that of u, beyond the half-spaces."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.tensor([1.0, 0.0]) + 0.1 * torch.randn(24, 2, dtype=torch.float64, generator=generator)
    radii = (math.asinh(2 * k) + 4 * torch.rand(24, 1, dtype=torch.float64, generator=generator)) / (2 * math.sqrt(c))
    points = radii * directions / directions.norm(dim=1, keepdim=True)
    outside = cones.entailment(points[:, None], points, c=c, k=k)
    holds = outside == 0
    chains = holds[:, :, None] & holds[None]  # u holds v, v holds w
    assert chains.sum() > 3 * 24  # more than each point and itself
    assert outside[:, None, :].expand(24, 24, 24)[chains].max() < 1e-9


def test_apertures_shrink_from_a_half_space():
    radii = torch.tensor([0.0, 0.05, math.asinh(0.2) / 2, 0.2, 1.0, 5.0, 300.0], dtype=torch.float64)
    apertures = cones.half_aperture(radii[:, None], c=1.0)
    assert (apertures[:2] == math.pi / 2).all()
    assert float(apertures[2]) == pytest.approx(math.pi / 2, abs=1e-7)
    assert (apertures[2:].diff() < 0).all() and apertures[-1] > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_computed_as_float32_and_shapes_broadcast(dtype):
    u, v = torch.randn(4, 1, 3).to(dtype), torch.randn(5, 3).to(dtype)
    angles = cones.exterior_angle(u, v, c=0.5)
    assert angles.dtype == torch.float32 and angles.shape == (4, 5)
    assert torch.equal(angles, cones.exterior_angle(u.float(), v.float(), c=0.5))
    assert cones.half_aperture(u, c=0.5).shape == (4, 1)


def test_mistakes_are_named():
    u = torch.ones(2)
    with pytest.raises(ValueError, match=r"k = 0"):
        cones.half_aperture(u, c=1.0, k=0.0)
    with pytest.raises(ValueError, match=r"c = -1"):
        cones.exterior_angle(u, u, c=-1.0)
    with pytest.raises(ValueError, match="finite"):
        cones.exterior_angle(u, u / 0, c=1.0)
    with pytest.raises(TypeError, match="floating"):
        cones.half_aperture(torch.ones(2, dtype=torch.int64), c=1.0)
