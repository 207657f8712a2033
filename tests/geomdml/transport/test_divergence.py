"""The Sinkhorn divergence: a distance of measures, between optimal transport and the energy distance."""

import ot
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml.spaces import Hyperbolic
from geomdml.transport import divergence, exact, sinkhorn, sinkhorn_divergence
from tests.generators.transport import weights

seeds = st.integers(0, 2**31)
DTYPES = st.sampled_from([torch.float32, torch.float64])


def points(n: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


@given(seeds, st.integers(1, 8), st.integers(1, 8), st.floats(-2.0, 2.0), DTYPES, st.sampled_from([1.0, 1.5, 2.0]))
def test_positive_and_symmetric(seed, n, m, log_reg, dtype, p):
    x, y = points(n, seed, dtype), points(m, seed + 1, dtype)
    reg, generator = 10.0**log_reg, torch.Generator().manual_seed(seed)
    a, b = weights(n, generator, n // 3).to(dtype), weights(m, generator, m // 3).to(dtype)
    divergence = float(sinkhorn_divergence(x, y, reg, a, b, p=p))
    assert divergence > 0
    small = 1e-4 * (1 + reg) if dtype == torch.float32 else 1e-8 * (1 + reg)
    assert float(sinkhorn_divergence(y, x, reg, b, a, p=p)) == pytest.approx(divergence, abs=small)


@given(seeds, st.integers(1, 8), st.floats(-2.0, 2.0), DTYPES)
def test_zero_for_equal_measures_however_they_are_written(seed, n, log_reg, dtype):
    x, reg, generator = points(n, seed, dtype), 10.0**log_reg, torch.Generator().manual_seed(seed)
    a = weights(n, generator).to(dtype)
    assert float(sinkhorn_divergence(x, x, reg, a, a)) == 0.0
    order = torch.randperm(n, generator=generator)
    split = torch.cat([x, x])[torch.randperm(2 * n, generator=generator)]
    small = 1e-4 * (1 + reg) if dtype == torch.float32 else 1e-8 * (1 + reg)
    for other, b in ((x[order], a[order]), (split, None)):
        own = a if b is not None else None
        assert 0 <= float(sinkhorn_divergence(x, other, reg, own, b)) <= small


def test_moved_points_are_their_squared_way_apart():
    """For p = 2 a translation by v adds ‖v‖² to the divergence from the same cloud, which is 0."""
    x, v = points(7, 0), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    for reg in (0.05, 1.0, 100.0):
        assert float(sinkhorn_divergence(x, x + v, reg)) == pytest.approx(float(v @ v), abs=1e-7)


def test_limits_in_reg():
    x, y = points(6, 0), points(9, 1)
    cost = torch.cdist(x, y) ** 2
    assert float(sinkhorn_divergence(x, y, 1e-3)) == pytest.approx(float(exact(cost).value), rel=1e-3)
    means = x.mean(0) - y.mean(0)
    assert float(sinkhorn_divergence(x, y, 1e6)) == pytest.approx(float(means @ means), rel=1e-4)
    energy = torch.cdist(x, y).mean() - torch.cdist(x, x).mean() / 2 - torch.cdist(y, y).mean() / 2
    assert float(sinkhorn_divergence(x, y, 1e6, p=1)) == pytest.approx(float(energy), rel=1e-4)


def test_equals_pot():
    x, y = points(8, 0), points(9, 1)
    peer = ot.bregman.empirical_sinkhorn_divergence(x.numpy(), y.numpy(), 1.0, stopThr=1e-14, numIterMax=10_000)
    across, *within = (torch.cdist(*pair) ** 2 for pair in ((x, y), (x, x), (y, y)))
    assert float(across.max()) > 1  # POT's has ⟨T, C⟩ alone: that of the cost, not the value
    linear = [float(sinkhorn(cost, 1.0).linear) for cost in (across, *within)]
    assert max(0.0, linear[0] - linear[1] / 2 - linear[2] / 2) == pytest.approx(float(peer), abs=1e-7)


@pytest.mark.parametrize("p", [1.0, 2.0])
@pytest.mark.parametrize("space", [None, Hyperbolic(c=1.0)])
def test_gradients(p, space):
    x, y, generator = points(4, 0) / 2, points(3, 1) / 2, torch.Generator().manual_seed(0)
    a, b = weights(4, generator), weights(3, generator)

    def divergence(x, y, u, v):
        return sinkhorn_divergence(x, y, 0.3, u.softmax(0), v.softmax(0), p=p, space=space, tol=1e-13)

    leaves = [t.clone().requires_grad_() for t in (x, y, a.log(), b.log())]
    assert torch.autograd.gradcheck(divergence, leaves, atol=1e-5)


def test_gradient_is_zero_at_the_minimum_and_leads_there():
    x = points(5, 0)
    y = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(sinkhorn_divergence(x, y, 0.1), y)
    assert float(gradient.abs().max()) < 1e-6
    y = points(5, 1).requires_grad_()
    for _ in range(60):
        value = sinkhorn_divergence(x, y, 0.1)
        (gradient,) = torch.autograd.grad(value, y)
        y = (y - 1.5 * gradient).detach().requires_grad_()
    assert float(value.detach()) < 1e-3


def test_pairs_of_clouds_are_as_one_after_the_other():
    x, y = (torch.stack([points(n, seed) for seed in range(3)]) for n in (4, 6))
    a = torch.stack([weights(4, torch.Generator().manual_seed(seed)) for seed in range(3)])
    together = sinkhorn_divergence(x, y + 1, 0.3, a)
    alone = [sinkhorn_divergence(*pair, 0.3, w) for *pair, w in zip(x, y + 1, a, strict=True)]
    torch.testing.assert_close(together, torch.stack(alone), rtol=0, atol=1e-8)
    assert sinkhorn_divergence(x, x, 0.3).tolist() == [0.0, 0.0, 0.0]


def test_large_clouds_without_their_costs(monkeypatch):
    x, y = points(30, 0), points(20, 1)
    expected = float(sinkhorn_divergence(x, y, 0.5))
    monkeypatch.setattr(divergence, "_WHOLE", 100)
    assert float(sinkhorn_divergence(x, y, 0.5)) == pytest.approx(expected, abs=1e-8)


def test_refusals():
    x = points(3, 0)
    with pytest.raises(ValueError, match=r"p = 0\.0; expected a finite number above 0"):
        sinkhorn_divergence(x, x, 0.1, p=0.0)
    with pytest.raises(ValueError, match=r"reg = -1\.0"):
        sinkhorn_divergence(x, x, -1.0)
    with pytest.raises(ValueError, match="last dimensions differ"):
        sinkhorn_divergence(x, x[:, :2], 0.1)
