"""Entropic transport against closed forms, POT, the linear program and its own laws."""

import math
import warnings

import ot
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import geomdml
from geomdml.transport import Transport, exact, sinkhorn
from tests.generators.transport import GENERATORS, weights

seeds = st.integers(0, 2**31)
SMALL_REG = [0.1, 0.01, 0.002, 0.0002]  # shares of the largest cost


def rand(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def cloud_cost(kind: str, n: int, m: int, seed: int = 0) -> torch.Tensor:
    if kind == "uniform":
        return rand(n, m, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    d = int(kind.removesuffix("-d"))
    return torch.cdist(*(torch.randn(k, d, dtype=torch.float64, generator=generator) for k in (n, m))) ** 2


def l1_off(result: Transport, a: torch.Tensor, b: torch.Tensor) -> float:
    return float((result.plan.sum(-1) - a).abs().sum() + (result.plan.sum(-2) - b).abs().sum())


def duality_gap(result: Transport, cost: torch.Tensor, reg: float, a: torch.Tensor, b: torch.Tensor) -> float:
    """Primal of the plan, made feasible (Altschuler et al. 2017), less the dual of f and g: never below 0."""
    plan = result.plan * (a / result.plan.sum(1)).clamp(max=1).nan_to_num(0)[:, None]
    plan = plan * (b / plan.sum(0)).clamp(max=1).nan_to_num(0)
    row, column = (a - plan.sum(1)).clamp(min=0), (b - plan.sum(0)).clamp(min=0)
    plan = plan + row[:, None] * column / row.sum().clamp(min=1e-300)
    primal = (plan * cost).sum() + reg * (torch.special.xlogy(plan, plan) - plan).sum()
    own = ((result.f[:, None] + result.g - cost) / reg).exp()
    dual = sum((torch.where(w > 0, u, 0.0) * w).sum() for u, w in ((result.f, a), (result.g, b))) - reg * own.sum()
    return float(primal - dual)


@pytest.mark.parametrize("reg", [1.0, 0.1, 0.02])
@pytest.mark.parametrize("name", GENERATORS)
def test_closed_forms(name, reg):
    problem = GENERATORS[name](reg, seed=3)
    result = sinkhorn(problem.cost, problem.reg, problem.a, problem.b, tol=1e-12)
    assert bool(result.converged)
    assert float((result.plan - problem.plan).abs().sum()) <= problem.tolerance
    assert float(result.value) == pytest.approx(problem.value, rel=1e-8, abs=1e-9)
    assert float(result.linear) == pytest.approx(problem.linear, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("kind", ["2-d", "64-d", "uniform"])
@pytest.mark.parametrize("share", [0.1, 0.01])
@pytest.mark.parametrize("uniform", [True, False])
def test_plan_is_that_of_pot(kind, share, uniform):
    cost, generator = cloud_cost(kind, 40, 55), torch.Generator().manual_seed(1)
    a, b = (None, None) if uniform else (weights(40, generator), weights(55, generator))
    reg = float(share * cost.max())
    result = sinkhorn(cost, reg, a, b)
    p, q = (torch.full((n,), 1 / n, dtype=torch.float64) if w is None else w for n, w in ((40, a), (55, b)))
    peer = ot.sinkhorn(p.numpy(), q.numpy(), cost.numpy(), reg, stopThr=1e-14, numItermax=100_000)
    assert float((result.plan - torch.from_numpy(peer)).abs().max()) <= 1e-9
    assert l1_off(result, p, q) <= 1.1e-9


@pytest.mark.parametrize("kind", ["1-d", "2-d", "64-d", "uniform"])
@pytest.mark.parametrize("share", SMALL_REG)
@pytest.mark.parametrize("zeros", [0, 3])
def test_small_reg_meets_marginals_gap_and_linear_program(kind, share, zeros):
    cost, generator = cloud_cost(kind, 30, 24, seed=5), torch.Generator().manual_seed(2)
    a, b = weights(30, generator, zeros), weights(24, generator, zeros)
    reg = float(share * cost.max())
    result = sinkhorn(cost, reg, a, b)
    assert bool(result.converged)
    assert l1_off(result, a, b) <= 1.1e-9
    assert -1e-12 * float(cost.max()) <= duality_gap(result, cost, reg, a, b) <= 1e-7 * float(cost.max())
    entropies = -sum(float(torch.special.xlogy(w, w).sum()) for w in (a, b))
    least = float(exact(cost, a, b).value)
    assert -1e-8 <= (float(result.linear) - least) / float(cost.max()) <= share * entropies + 1e-8
    assert (result.plan >= 0).all()
    assert (result.plan[a == 0] == 0).all() and (result.plan[:, b == 0] == 0).all()
    assert (result.f[a == 0] == -math.inf).all() and (result.g[b == 0] == -math.inf).all()


@given(
    seeds,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.integers(-8, 8),
    st.floats(-3.7, 1.0),
    st.sampled_from([torch.float32, torch.float64]),
    st.booleans(),
    st.floats(1.0, 12.0),
)
def test_converges_at_any_size_scale_and_reg(seed, size, scale, log_reg, dtype, zeros, peaked):
    """Weights from equal to spread over many orders of magnitude."""
    n, m = size
    cost = rand(n, m, seed=seed, dtype=dtype) * 10.0**scale
    a, b = (rand(k, seed=seed + i).pow(peaked) for i, k in ((1, n), (2, m)))
    if zeros:
        a[1::2], b[1::2] = 0, 0
    a, b = (a / a.sum()).to(dtype), (b / b.sum()).to(dtype)
    reg = 10.0 ** (scale + log_reg)
    result = sinkhorn(cost, reg, a, b)
    tol = 1e-9 if dtype == torch.float64 else 1e-5
    assert bool(result.converged)
    assert result.plan.dtype == dtype
    assert l1_off(result, a, b) <= 1.2 * tol + 30 * torch.finfo(dtype).eps
    assert float(result.marginal_error) <= tol
    digits = 1e-9 if dtype == torch.float64 else 1e-3  # of the exponent, (f + g − C)/reg
    rebuilt = ((result.f[:, None] + result.g - cost) / reg).exp()
    assert float((rebuilt - result.plan).abs().sum()) <= 10 * digits
    mass = [(torch.where(w > 0, u, 0.0) * w).sum() for u, w in ((result.f, a), (result.g, b))]
    assert float(mass[0] - mass[1]) == pytest.approx(0.0, abs=1e-4 * 10.0**scale)


@given(seeds, st.floats(-3.7, 0.0), st.sampled_from([None, 1.0, (0.1, None)]))
def test_float32_never_loops_for_ever(seed, log_reg, penalty):
    """A tolerance that float32 cannot reach ends with a warning, long before the limit."""
    cost = rand(20, 17, seed=seed, dtype=torch.float32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = sinkhorn(cost, 10.0**log_reg, tol=1e-14, max_iter=1_000_000, marginal_penalty=penalty)
    assert int(result.iterations) <= 5000
    assert bool(result.converged) != bool(caught)
    assert float(result.marginal_error) <= 1e-4


def test_what_does_not_converge_warns_in_one_line():
    with pytest.warns(RuntimeWarning, match=r"1 of 2 problems did not converge.*off by up to .* tol = 1.0e-09"):
        result = sinkhorn(rand(2, 9, 9), torch.tensor([10.0, 1e-4], dtype=torch.float64), max_iter=6)
    assert result.converged.tolist() == [True, False]
    assert float(result.marginal_error[1]) > 1e-9


@given(seeds, st.floats(-2.5, 0.5), st.integers(1, 8), st.integers(1, 8))
def test_laws(seed, log_reg, n, m):
    generator = torch.Generator().manual_seed(seed)
    cost, reg, a, b = rand(n, m, seed=seed), 10.0**log_reg, weights(n, generator), weights(m, generator)
    result = sinkhorn(cost, reg, a, b, tol=1e-12)

    def close(other: Transport, plan: torch.Tensor, value: float) -> None:
        torch.testing.assert_close(other.plan, plan, atol=1e-9, rtol=0)
        assert float(other.value) == pytest.approx(value, abs=1e-8)

    value = float(result.value)
    close(sinkhorn(cost.T, reg, b, a, tol=1e-12), result.plan.T, value)  # symmetry
    scaled = sinkhorn(5 * cost, 5 * reg, a, b, tol=1e-12)  # unit of the cost
    close(scaled, result.plan, 5 * value)
    torch.testing.assert_close(scaled.f, 5 * result.f, atol=1e-7, rtol=0)
    heavy = sinkhorn(cost, reg, 3 * a, 3 * b, tol=1e-12)  # unit of the mass
    close(heavy, 3 * result.plan, 3 * value + 3 * reg * math.log(3))
    rows, columns = rand(n, 1, seed=seed + 1), rand(m, seed=seed + 2)  # toll on arrival and departure
    toll = float((rows[:, 0] * a).sum() + (columns * b).sum())
    close(sinkhorn(cost + rows + columns, reg, a, b, tol=1e-12), result.plan, value + toll)
    order = torch.randperm(n, generator=generator)
    close(sinkhorn(cost[order], reg, a[order], b, tol=1e-12), result.plan[order], value)
    split = sinkhorn(  # a point in two halves at one place
        torch.cat([cost, cost[:1]]), reg, torch.cat([a[:1] / 2, a[1:], a[:1] / 2]), b, tol=1e-12
    )
    torch.testing.assert_close(split.plan[0] + split.plan[n], result.plan[0], atol=1e-9, rtol=0)


def test_batch_is_its_problems_each_with_its_own_reg_and_convergence():
    cost, reg = rand(2, 3, 9, 7), torch.tensor([[0.5], [0.002]], dtype=torch.float64)
    a = torch.stack([weights(9, torch.Generator().manual_seed(i), zeros=i) for i in range(3)])
    together = sinkhorn(cost, reg, a)
    assert together.plan.shape == (2, 3, 9, 7) and together.value.shape == together.iterations.shape == (2, 3)
    assert bool(together.converged.all())
    assert int(together.iterations[0].max()) < int(together.iterations[1].min())
    for i in range(2):
        for j in range(3):
            alone = sinkhorn(cost[i, j], float(reg[i]), a[j])
            torch.testing.assert_close(together.plan[i, j], alone.plan, atol=1e-8, rtol=0)
            torch.testing.assert_close(together.f[i, j], alone.f, atol=1e-6, rtol=0)


def test_small_and_large_problems_take_different_ways_to_one_plan():
    """Looks at the error, conjugate gradients and factorisation depend on the size; 2-d and 64-d on the condition."""
    for kind in ("2-d", "64-d"):
        cost = cloud_cost(kind, 300, 520)
        reg = float(0.001 * cost.max())
        result, uniform = sinkhorn(cost, reg), torch.ones(1, dtype=torch.float64)
        assert bool(result.converged)
        assert l1_off(result, uniform / 300, uniform / 520) <= 1.1e-9
        flipped = sinkhorn(cost.T, reg)
        torch.testing.assert_close(flipped.plan.T, result.plan, atol=1e-9, rtol=0)


def test_an_outlier_among_the_costs_excludes_its_pair():
    cost = rand(12, 12)
    cost.fill_diagonal_(1e6)
    result = sinkhorn(cost, 0.01)
    assert bool(result.converged)
    assert float(result.plan.diagonal().max()) == 0.0


def test_warm_start_is_at_the_goal_at_once_and_a_bad_one_does_no_harm():
    cost = rand(30, 30)
    cold = sinkhorn(cost, 0.005)
    for start in ({"f": cold.f}, {"g": cold.g}, {"f": cold.f, "g": cold.g}):
        warm = sinkhorn(cost, 0.005, **start)
        assert int(warm.iterations) <= 6 < int(cold.iterations)
        torch.testing.assert_close(warm.plan, cold.plan, atol=1e-8, rtol=0)
    bad = sinkhorn(cost, 0.005, g=1000 * rand(30, seed=7))
    torch.testing.assert_close(bad.plan, cold.plan, atol=1e-8, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_float32_on_the_rounded_costs(dtype):
    cost = rand(9, 8).to(dtype)
    result = sinkhorn(cost, 0.05)
    assert result.plan.dtype == result.f.dtype == torch.float32
    torch.testing.assert_close(result, sinkhorn(cost.float(), 0.05))


@pytest.mark.parametrize("penalty", [0.05, 1.0, 50.0, (0.3, 4.0), (0.5, None)])
@pytest.mark.parametrize("reg", [0.2, 0.01])
def test_unbalanced_optimum(penalty, reg):
    """Primal and dual meet; each loosened marginal is a·exp(−f/ρ)."""
    generator = torch.Generator().manual_seed(4)
    cost, a, b = rand(9, 12), 2 * weights(9, generator, 1), weights(12, generator, 2)
    result = sinkhorn(cost, reg, a, b, marginal_penalty=penalty)
    assert bool(result.converged)
    plan, primal = result.plan, float(result.linear)
    primal += reg * float((torch.special.xlogy(plan, plan) - plan).sum())
    rows, columns = penalty if isinstance(penalty, tuple) else (penalty, penalty)
    for rho, w, total, u in ((rows, a, plan.sum(1), result.f), (columns, b, plan.sum(0), result.g)):
        if rho is None:
            torch.testing.assert_close(total, w)
            continue
        torch.testing.assert_close(total, torch.where(w > 0, w * (-u / rho).exp(), 0.0), atol=1e-8, rtol=0)
        held = w > 0
        primal += rho * float((total[held] * (total[held] / w[held]).log() - total[held] + w[held]).sum())
    assert float(result.value) == pytest.approx(primal, abs=1e-7)


def test_unbalanced_plan_is_that_of_pot():
    cost, generator = rand(15, 10), torch.Generator().manual_seed(4)
    a, b = 1.5 * weights(15, generator), weights(10, generator)
    result = sinkhorn(cost, 0.1, a, b, marginal_penalty=0.7)
    with warnings.catch_warnings(action="ignore"):  # POT notes that it takes the entropy without a reference
        peer = ot.unbalanced.sinkhorn_unbalanced(
            a.numpy(), b.numpy(), cost.numpy(), 0.1, 0.7, reg_type="entropy", stopThr=1e-14, numItermax=10_000
        )
    torch.testing.assert_close(result.plan, torch.from_numpy(peer), atol=1e-9, rtol=0)


def test_a_large_penalty_is_a_marginal_to_be_met():
    cost = rand(8, 9)
    met, nearly = sinkhorn(cost, 0.05), sinkhorn(cost, 0.05, marginal_penalty=1e7)
    torch.testing.assert_close(nearly.plan, met.plan, atol=1e-8, rtol=0)


C = rand(4, 5)
REFUSED = {
    "cost is an integer": (lambda: sinkhorn(C.long(), 0.1), TypeError, "cost has dtype torch.int64"),
    "cost is not a tensor": (lambda: sinkhorn([[1.0]], 0.1), TypeError, "cost is a list"),
    "cost is a vector": (lambda: sinkhorn(C[0], 0.1), ValueError, r"cost has shape \(5,\)"),
    "cost is empty": (lambda: sinkhorn(C[:0], 0.1), ValueError, r"cost has shape \(0, 5\)"),
    "cost is NaN": (lambda: sinkhorn(C * math.nan, 0.1), ValueError, "cost has 20 entries that are NaN or -inf"),
    "cost is infinite": (lambda: sinkhorn(C + math.inf, 0.1), ValueError, r"row \(0,\) has weight, and no finite cost"),
    "a is too long": (lambda: sinkhorn(C, 0.1, torch.ones(5)), ValueError, r"a has shape \(5,\); expected \(4,\)"),
    "b is negative": (lambda: sinkhorn(C, 0.1, b=C[0] - 0.5), ValueError, "b has . entries below 0"),
    "a is NaN": (lambda: sinkhorn(C, 0.1, C[:, 0] * math.nan), ValueError, "a has 4 entries that are NaN"),
    "a is 0": (lambda: sinkhorn(C, 0.1, torch.zeros(4)), ValueError, "a sums to 0"),
    "sums differ": (
        lambda: sinkhorn(C, 0.1, torch.ones(4), torch.ones(5)),
        ValueError,
        "a sums to 4, b to 5; expected equal sums, or marginal_penalty",
    ),
    "reg is 0": (lambda: sinkhorn(C, 0.0), ValueError, "reg = 0.0; expected a finite number above 0"),
    "reg is NaN": (lambda: sinkhorn(C, math.nan), ValueError, "reg = nan"),
    "reg is text": (lambda: sinkhorn(C, "0.1"), TypeError, "reg is a str"),
    "a reg is 0": (lambda: sinkhorn(C.expand(2, 4, 5), torch.tensor([0.1, 0.0])), ValueError, "reg has values"),
    "too many regs": (lambda: sinkhorn(C, torch.tensor([0.1, 0.1])), ValueError, r"reg has shape \(2,\)"),
    "tol is negative": (lambda: sinkhorn(C, 0.1, tol=-1.0), ValueError, "tol = -1.0"),
    "max_iter is 0": (lambda: sinkhorn(C, 0.1, max_iter=0), ValueError, "max_iter = 0"),
    "grad is unknown": (lambda: sinkhorn(C, 0.1, grad="all"), ValueError, "grad = 'all'; expected one of 'envelope'"),
    "penalty is 0": (lambda: sinkhorn(C, 0.1, marginal_penalty=0.0), ValueError, "marginal_penalty = 0.0"),
    "three penalties": (lambda: sinkhorn(C, 0.1, marginal_penalty=(1, 2, 3)), ValueError, "marginal_penalty = "),
    "f is too long": (lambda: sinkhorn(C, 0.1, f=torch.ones(5)), ValueError, r"f has shape \(5,\); expected \(4,\)"),
}


@pytest.mark.parametrize("call, error, message", REFUSED.values(), ids=REFUSED.keys())
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_values_are_not_looked_at_where_validation_is_off():
    with geomdml.validation(False):
        assert not bool(sinkhorn(C, 0.1, -torch.ones(4), -torch.ones(5) * 0.8, max_iter=3).plan.isnan().all())
