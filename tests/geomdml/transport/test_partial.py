"""Partial transport against POT, and barycentres against POT and what is known."""

import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geomdml.transport import barycentre, exact, partial, sinkhorn
from tests.generators.transport import weights


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 7), st.integers(2, 7), st.floats(0.1, 0.99))
def test_part_equals_pot(seed, n, m, share):
    generator = torch.Generator().manual_seed(seed)
    cost = torch.rand(n, m, dtype=torch.float64, generator=generator)
    a, b = weights(n, generator), 1.5 * weights(m, generator)
    result = partial(cost, share, a, b)
    peer = ot.partial.partial_wasserstein2(a.numpy(), b.numpy(), cost.numpy(), m=share)
    assert float(result.value) == pytest.approx(float(peer), abs=1e-9)
    assert float(result.linear) == pytest.approx(float(result.value), abs=1e-12)
    assert float(result.plan.sum()) == pytest.approx(share, abs=1e-12)
    assert bool((result.plan.sum(1) <= a + 1e-12).all()) and bool((result.plan.sum(0) <= b + 1e-12).all())
    assert float((result.f[:, None] + result.g - cost).max()) <= 1e-12
    moved = partial(cost - 2, share, a, b)  # costs below 0
    torch.testing.assert_close(moved.plan, result.plan)
    assert float(moved.value) == pytest.approx(float(result.value) - 2 * share)


def test_all_of_the_mass_is_transport():
    generator = torch.Generator().manual_seed(0)
    cost, a, b = torch.rand(3, 4, 5, dtype=torch.float64), weights(4, generator), weights(5, generator)
    torch.testing.assert_close(partial(cost, 1.0, a, b).plan, exact(cost, a, b).plan)


def test_little_entropy_is_none_and_gradients_are_the_plan():
    generator = torch.Generator().manual_seed(0)
    cost, a, b = torch.rand(4, 5, dtype=torch.float64), weights(4, generator), weights(5, generator)
    cost.requires_grad_()
    for options in ({}, {"reg": 1e-4}):
        result = partial(cost, 0.6, a, b, **options)
        torch.testing.assert_close(result.plan, partial(cost, 0.6, a, b).plan, rtol=0, atol=1e-5)
        torch.testing.assert_close(torch.autograd.grad(result.value, cost)[0], result.plan.detach())


def on_a_line(count):
    places = torch.linspace(0, 1, count, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    return (places[:, None] - places) ** 2, torch.stack([weights(count, generator, zeros=2) for _ in range(3)])


def test_barycentre_equals_pot():
    cost, measures = on_a_line(20)
    found = barycentre(cost, measures, 0.05)
    peer = ot.bregman.barycenter(measures.T.numpy(), cost.numpy(), 0.05, stopThr=1e-13, numItermax=10_000)
    torch.testing.assert_close(found.weights, torch.from_numpy(peer), rtol=0, atol=1e-7)
    assert found.converged
    torch.testing.assert_close(found.plans.sum(1), measures, rtol=0, atol=1e-8)
    torch.testing.assert_close(found.plans.sum(2), found.weights.expand(3, -1), rtol=0, atol=1e-12)


def test_no_other_weights_are_nearer():
    """With shares, for which POT 0.9.7 begins at unweighted means and ends elsewhere."""
    cost, measures = on_a_line(8)
    shares, generator = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64), torch.Generator().manual_seed(1)

    def total(a):
        return float(shares @ sinkhorn(cost.expand(3, -1, -1), 0.05, a.expand(3, -1), measures).value)

    found = barycentre(cost, measures, 0.05, shares).weights
    for _ in range(5):
        step = torch.rand(8, dtype=torch.float64, generator=generator) - 0.5
        assert total(found * (1 + 0.1 * (step - found @ step))) > total(found)


def test_barycentre_of_one_measure_without_blur_is_itself():
    b = weights(6, torch.Generator().manual_seed(0))[None]
    cost = 1 - torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(barycentre(cost, b, 0.02).weights, b[0], rtol=0, atol=1e-6)


def test_refusals():
    cost = torch.rand(3, 4)
    with pytest.raises(ValueError, match=r"mass = 1\.5; expected at most"):
        partial(cost, 1.5)
    with pytest.raises(ValueError, match=r"mass = 0\.0"):
        partial(cost, 0.0)
    with pytest.raises(ValueError, match="measures sum to"):
        barycentre(cost, torch.tensor([[1.0, 0, 0, 0], [2.0, 0, 0, 0]]), 0.1)
    with pytest.raises(ValueError, match="expected 1 numbers ≥ 0"):
        barycentre(cost, torch.ones(1, 4), 0.1, torch.tensor([-1.0]))
