"""Means that are stationary and move with the points, densities that integrate to one, Busemann functions as limits."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from geomdml import statistics, tangent
from geomdml.testing import laws, oracle, strategies
from geomdml.testing.primitives import Primitive

BUSEMANN = Primitive("busemann", oracle.busemann, float64=1e-12)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
FEW = {"dimensions": (2, 1, 3, 8)}


def cloud(seed, count=5, dim=3, radius=1.0):
    return radius * torch.randn(count, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@DTYPES
@settings(max_examples=25)
@given(st.data())
def test_busemann_is_exact(dtype, data):
    """To 1e-12 of the value, or of the radius where a horosphere through the origin makes it a difference."""
    u, ideal, c = data.draw(strategies.tangent_pairs(dtype, **FEW))
    assume(ideal.any())
    found, exact = statistics.busemann(u.double(), ideal.double(), c=c), float(oracle.busemann(u, ideal, c=c))
    assert abs(float(found) - exact) <= 1e-12 * abs(exact) + 4e-16 * float(u.double().norm())
    assert float(statistics.busemann(u, ideal, c=c)) == pytest.approx(float(found), rel=2e-7, abs=1e-45)


@DTYPES
@settings(max_examples=15)
@given(st.data())
def test_its_gradients_are_exact(dtype, data):
    near = {"nearest": 1e-3, "relations": strategies.APART, "dimensions": (2, 3, 8)}
    u, ideal, c = data.draw(strategies.tangent_pairs(dtype, **near))
    laws.gradient_is_exact(statistics, BUSEMANN, u, ideal, c=c)


@given(st.data())
def test_its_gradients_are_finite_everywhere(data):
    u, ideal, c = data.draw(strategies.tangent_pairs())
    assume(ideal.any())
    laws.gradients_are_finite(statistics, BUSEMANN, u, ideal, c=c)


@given(st.integers(0, 1000), st.floats(0.1, 4.0))
def test_busemann_is_the_limit_of_distances(seed, c):
    u, ideal = cloud(seed, 2)
    far = 40.0 * ideal / ideal.norm() / math.sqrt(c)
    limit = tangent.dist(u, far, c=c) - 2 * far.norm()
    assert float(statistics.busemann(u, ideal, c=c)) == pytest.approx(float(limit), abs=1e-9)


@settings(max_examples=25)
@given(st.integers(0, 1000), st.floats(0.05, 8.0), st.sampled_from([1e-6, 0.3, 1.0, 3.0, 10.0]), st.booleans())
def test_the_mean_is_stationary(seed, c, radius, weighted):
    points = cloud(seed, radius=radius)
    weights = cloud(seed + 1)[:, 0].abs() if weighted else torch.ones(5, dtype=torch.float64)
    mean = statistics.frechet_mean(points, weights if weighted else None, c=c)
    ways = tangent.logmap(mean, points, c=c)
    pull = (weights.unsqueeze(1) * ways).sum(0) / weights.sum()
    # a rounding of the mean's direction, far out, is a step
    rounding = 1e-15 * math.exp(min(100.0, 2 * math.sqrt(c) * float(mean.norm())))
    assert pull.norm() <= 1e-10 * ways.norm(dim=1).max() + rounding


@settings(max_examples=10)
@given(st.integers(0, 1000), st.floats(0.1, 4.0))
def test_the_mean_moves_with_the_points(seed, c):
    """Translations and rotations are isometries."""
    points, shift = cloud(seed), cloud(seed + 1, 1)
    mean = statistics.frechet_mean(points, c=c)
    moved = statistics.frechet_mean(tangent.mobius_add(shift, points, c=c), c=c)
    torch.testing.assert_close(moved, tangent.mobius_add(shift[0], mean, c=c), rtol=1e-8, atol=1e-9)
    turn = torch.linalg.qr(cloud(seed + 2, 3)).Q
    torch.testing.assert_close(statistics.frechet_mean(points @ turn, c=c), mean @ turn, rtol=1e-9, atol=1e-10)


def test_the_mean_of_two_is_the_middle_and_of_copies_the_point():
    u, v = cloud(0, 2)
    for weight in (0.25, 0.5):
        weights = torch.tensor([1 - weight, weight], dtype=torch.float64)
        mean = statistics.frechet_mean(torch.stack([u, v]), weights, c=0.7)
        torch.testing.assert_close(mean, tangent.geodesic(u, v, weight, c=0.7), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(statistics.frechet_mean(u.expand(4, 3), c=0.7), u, rtol=1e-14, atol=0)
    assert not statistics.frechet_mean(torch.zeros(3, 2), c=1.0).any()


def test_batches_of_means_are_the_means_one_by_one_and_gradients_are_exact():
    points = torch.stack([cloud(seed, radius=0.2 + seed) for seed in range(3)])
    weights, c = cloud(9, 3, 5).abs(), torch.tensor(0.7, dtype=torch.float64)
    together = statistics.frechet_mean(points, weights, c=c)
    singly = [statistics.frechet_mean(x, w, c=c) for x, w in zip(points, weights, strict=True)]
    torch.testing.assert_close(together, torch.stack(singly), rtol=1e-10, atol=1e-12)
    inputs = (points[0].clone().requires_grad_(), weights[0].clone().requires_grad_(), c.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, w, c: statistics.frechet_mean(x, w, c=c), inputs, atol=1e-6)


@pytest.mark.parametrize("c", [0.3, 2.0])
def test_the_density_integrates_to_one(c):
    """Over geodesic polar coordinates about the origin, area sinh(√c r)/√c dr dθ."""
    mean, scale = torch.tensor([0.4, -0.3], dtype=torch.float64), torch.tensor([0.5, 0.8], dtype=torch.float64)
    radii, angles = torch.linspace(0, 12, 1001, dtype=torch.float64), torch.arange(100) * 2 * math.pi / 100
    directions = torch.stack([angles.cos(), angles.sin()], 1).double()
    points = radii[:, None, None] * directions / 2
    density = statistics.wrapped_normal_log_prob(points, mean, scale, c=c).exp().mean(1) * 2 * math.pi
    area = torch.sinh(math.sqrt(c) * radii) / math.sqrt(c)
    assert float(torch.trapezoid(density * area, radii)) == pytest.approx(1.0, abs=1e-4)


def test_draws_have_the_density():
    """The mean of −log p over draws is the entropy by quadrature, and the Fréchet mean of draws is the mean."""
    mean, c = torch.tensor([0.6, 0.2], dtype=torch.float64), 1.0
    draws = statistics.wrapped_normal_sample(
        mean.expand(20000, 2), 0.5, c=c, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(statistics.frechet_mean(draws, c=c), mean, rtol=0, atol=0.01)
    away = tangent.dist(draws, mean, c=c)
    assert float((away**2).mean()) == pytest.approx(2 * 0.5**2, rel=0.03)
    weights = torch.exp(
        statistics.wrapped_normal_log_prob(draws, mean, 0.4, c=c)
        - statistics.wrapped_normal_log_prob(draws, mean, 0.5, c=c)
    )
    assert float(weights.mean()) == pytest.approx(1.0, abs=0.03)  # importance weights of another density


def test_a_step_of_a_variational_autoencoder_has_gradients():
    mean, log_scale = torch.randn(8, 3, requires_grad=True), torch.zeros(8, 3, requires_grad=True)
    c = torch.tensor(0.7, requires_grad=True)
    draws = statistics.wrapped_normal_sample(mean, log_scale.exp(), c=c)
    prior = statistics.wrapped_normal_log_prob(draws, torch.zeros(3), 1.0, c=c)
    (statistics.wrapped_normal_log_prob(draws, mean, log_scale.exp(), c=c) - prior).mean().backward()
    assert all(x.grad.isfinite().all() and x.grad.any() for x in (mean, log_scale, c))
    inputs = [x.detach().double()[:2].requires_grad_() for x in (draws, mean, log_scale.exp())]
    assert torch.autograd.gradcheck(lambda *x: statistics.wrapped_normal_log_prob(*x, c=0.7), inputs)


def test_mistakes_are_named():
    u = torch.ones(2)
    with pytest.raises(ValueError, match="direction of length 0"):
        statistics.busemann(u, 0 * u, c=1.0)
    with pytest.raises(ValueError, match="scale has values that are not above 0"):
        statistics.wrapped_normal_sample(u, -1.0, c=1.0)
    with pytest.raises(ValueError, match="scale has shape"):
        statistics.wrapped_normal_log_prob(u, u, torch.ones(3), c=1.0)
    with pytest.raises(ValueError, match=r"weights has shape \(3,\)"):
        statistics.frechet_mean(torch.zeros(4, 2), torch.ones(3), c=1.0)
