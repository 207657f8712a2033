"""Exact transport against POT, its duality, and what is known beforehand."""

import ot
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml.transport import exact
from tests.generators.transport import weights

seeds = st.integers(0, 2**31)


@given(seeds, st.integers(1, 9), st.integers(1, 9), st.booleans(), st.integers(-6, 6))
def test_equals_pot_and_meets_its_dual(seed, n, m, uniform, scale):
    generator = torch.Generator().manual_seed(seed)
    cost = torch.randn(n, m, dtype=torch.float64, generator=generator) * 10.0**scale
    a, b = (None, None) if uniform else (weights(n, generator, n // 3), weights(m, generator, m // 3))
    result = exact(cost, a, b)
    p, q = (torch.full((k,), 1 / k, dtype=torch.float64) if w is None else w for k, w in ((n, a), (m, b)))
    unit = 1e-9 * 10.0**scale
    if n * m > 1:  # POT's emd2 finds one point to one point infeasible
        assert float(result.value) == pytest.approx(ot.emd2(p.numpy(), q.numpy(), cost.numpy()), abs=unit)
    assert float(result.value) == pytest.approx(float((result.plan * cost).sum()), abs=unit)
    assert float(result.value) == pytest.approx(float((result.f * p).sum() + (result.g * q).sum()), abs=unit)
    assert float((result.f[:, None] + result.g - cost).max()) <= unit
    torch.testing.assert_close(result.plan.sum(1), p)
    torch.testing.assert_close(result.plan.sum(0), q)
    assert float(result.marginal_error) < 1e-9


@given(seeds, st.integers(1, 12))
def test_sorted_points_on_a_line_are_matched_in_order(seed, n):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(n, dtype=torch.float64, generator=generator).sort().values for _ in range(2))
    result = exact((x[:, None] - y) ** 2)
    assert float(result.value) == pytest.approx(float(((x - y) ** 2).mean()))


def test_gradients_are_plan_and_potentials():
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.rand(4, 6, dtype=torch.float64, generator=generator), weights(4, generator), weights(6, generator)]
    inputs = [x.requires_grad_() for x in inputs]
    result = exact(*inputs)
    for gradient, expected in zip(
        torch.autograd.grad(result.value, inputs), (result.plan, result.f, result.g), strict=True
    ):
        torch.testing.assert_close(gradient, expected)


def test_batch_mass_and_dtype():
    cost, a = torch.rand(2, 3, 4, 5), torch.rand(4)
    result = exact(cost, a)
    assert result.plan.shape == (2, 3, 4, 5) and result.value.shape == (2, 3) and result.plan.dtype == torch.float32
    torch.testing.assert_close(result.plan.sum(-1), a.expand(2, 3, 4))
    torch.testing.assert_close(result.plan.sum(-2), (a.sum() / 5).expand(2, 3, 5))


def test_refusals():
    with pytest.raises(ValueError, match="a sums to 8, b to 1"):
        exact(torch.rand(4, 2), torch.full((4,), 2.0), torch.full((2,), 0.5))
    with pytest.raises(ValueError, match="cost has 1 entries that are NaN or infinite"):
        exact(torch.tensor([[1.0, float("inf")]]))
