"""Exact transport against POT, its duality, and what is known beforehand."""

import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geomdml import _native
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


@pytest.mark.parametrize("filler", [0.0, -1.0, 1e12])
def test_padding_changes_nothing(filler):
    """Problems of several sizes as one batch: as each alone, in as many steps, whatever the costs without weight."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(1, 1), (1, 7), (7, 2), (3, 5), (6, 6), (7, 7)]
    alone = [torch.rand(n, m, dtype=torch.float64, generator=generator) for n, m in sizes]
    alone = [(cost, weights(len(cost), generator), weights(cost.shape[1], generator)) for cost in alone]
    cost = torch.full((len(sizes), 7, 7), filler, dtype=torch.float64)
    a, b = torch.zeros(2, len(sizes), 7, dtype=torch.float64)
    for i, ((n, m), (c, p, q)) in enumerate(zip(sizes, alone, strict=True)):
        cost[i, :n, :m], a[i, :n], b[i, :m] = c, p, q
    batch = exact(cost, a, b)
    for i, ((n, m), problem) in enumerate(zip(sizes, alone, strict=True)):
        expected = exact(*problem)
        torch.testing.assert_close(batch.plan[i, :n, :m], expected.plan, rtol=0, atol=1e-15)
        torch.testing.assert_close(batch.value[i], expected.value, rtol=0, atol=1e-14)
        assert int(batch.iterations[i]) == int(expected.iterations)
        assert not batch.plan[i, n:].any() and not batch.plan[i, :, m:].any()
    assert float((batch.f.unsqueeze(-1) + batch.g.unsqueeze(-2) - cost).max()) <= 1e-14 + 1e-15 * abs(filler)


@pytest.mark.parametrize(
    "kind", ["0/1 costs", "equal costs", "f + g", "1e9 apart", "weights 0/1/2", "weights 1e-30", "n to m", "|i − j|"]
)
def test_many_ties_and_faint_weights(kind):
    """The dual is met to the last digits, by batches in which many plans or potentials are optimal."""
    generator = torch.Generator().manual_seed(1)
    for n, m in [(1, 1), (2, 2), (1, 6), (6, 1), (5, 5), (4, 9), (12, 8), (12, 12)]:
        cost = torch.randn(3, n, m, dtype=torch.float64, generator=generator)
        a, b = (torch.rand(3, k, dtype=torch.float64, generator=generator) + 0.01 for k in (n, m))
        match kind:
            case "0/1 costs":
                cost = (cost > 0).double()
            case "equal costs":
                cost = torch.ones_like(cost)
            case "f + g":
                cost = a.unsqueeze(-1) + b.unsqueeze(-2)
            case "1e9 apart":
                cost[:, : n // 2] += 1e9
            case "weights 0/1/2":
                a, b = ((3 * w).floor() for w in (a.fmod(1), b.fmod(1)))
                a[:, 0], b[:, -1] = 1, 1
            case "weights 1e-30":
                a, b = (10 ** (-30 * w) for w in (a, b))
            case "n to m":
                a, b = torch.ones_like(a), torch.ones_like(b)
            case "|i − j|":
                cost = (torch.arange(n).unsqueeze(1) - torch.arange(m)).abs().double().expand(3, n, m)
        a, b = (w / w.sum(-1, keepdim=True) for w in (a, b))
        result, digits = exact(cost, a, b), 4e-15 * float(cost.abs().max())
        dual = (result.f * a).sum(-1) + (result.g * b).sum(-1)
        torch.testing.assert_close(dual, (result.plan * cost).sum((-1, -2)), rtol=0, atol=digits)
        assert float((result.f.unsqueeze(-1) + result.g.unsqueeze(-2) - cost).max()) <= digits
        assert bool((result.plan >= 0).all()) and float(result.marginal_error.max()) < 2e-15
        assert int((result.plan > 0).sum((-1, -2)).max()) <= n + m - 1  # a vertex


@pytest.mark.skipif(_native.library is None, reason="no compiler made the kernels")
@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 15), st.integers(1, 15), st.sampled_from(["any", "0/1", "1e9 apart"]), st.booleans())
def test_compiled_as_not_compiled(seed, n, m, kind, uniform):
    """The same plans to the last bit, whatever is left open by ties; a problem's do not depend on its batch."""
    generator = torch.Generator().manual_seed(seed)
    cost = torch.randn(3, n, m, dtype=torch.float64, generator=generator)
    if kind == "0/1":
        cost = (cost > 0).double()
    elif kind == "1e9 apart":
        cost[:, : n // 2] += 1e9
    weight = [] if uniform else [weights(n, generator, n // 3), weights(m, generator, m // 3)]
    compiled, digits = exact(cost, *weight), 1e-15 * (n + m) * max(1.0, float(cost.abs().max()))
    with _native.kernels(False):
        plain = exact(cost, *weight)
        alone = exact(cost[1], *weight)
    assert torch.equal(compiled.plan, plain.plan) and torch.equal(plain.plan[1], alone.plan)
    for name in ("f", "g"):
        torch.testing.assert_close(getattr(compiled, name), getattr(plain, name), rtol=0, atol=digits)


def test_refusals():
    with pytest.raises(ValueError, match="a sums to 8, b to 1"):
        exact(torch.rand(4, 2), torch.full((4,), 2.0), torch.full((2,), 0.5))
    with pytest.raises(ValueError, match="cost has 1 entries that are NaN or -inf"):
        exact(torch.tensor([[1.0, float("nan")]]))
