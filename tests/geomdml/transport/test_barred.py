"""Infinite costs: no mass moves there, in any solver, and all else is as if these costs were too large to pay."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml.transport import barycentre, exact, partial, sinkhorn

INF = math.inf


def problem(seed: int, n: int, m: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """Costs, infinite at some places, and where; row 0 and column 0 are open, so that there is a plan."""
    generator = torch.Generator().manual_seed(seed)
    cost = torch.rand(2, n, m, generator=generator, dtype=dtype)
    closed = torch.rand(2, n, m, generator=generator) < 0.5
    for i in range(max(n, m)):
        closed[:, i % n, i % m] = False
    closed[:, 0], closed[:, :, 0] = False, False
    return cost.masked_fill(closed, INF), closed


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1.0, 0.05, 0.003]))
def test_no_mass_moves_at_an_infinite_cost(seed: int, n: int, m: int, reg: float) -> None:
    cost, closed = problem(seed, n, m)
    found, dear = sinkhorn(cost, reg), sinkhorn(cost.masked_fill(closed, 1e4), reg)
    assert found.converged.all()
    assert not found.plan[closed].any()
    assert torch.isfinite(found.value).all() and torch.isfinite(found.linear).all()
    torch.testing.assert_close(found.plan, dear.plan, rtol=0, atol=1e-8)
    torch.testing.assert_close(found.value, dear.value, rtol=0, atol=1e-8)
    least = exact(cost)
    assert not least.plan[closed].any()
    torch.testing.assert_close(least.value, exact(cost.masked_fill(closed, 1e4)).value, rtol=0, atol=1e-9)
    assert (found.linear >= least.value - 1e-8).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("penalty", [None, 2.0])
@pytest.mark.parametrize("mode", ["envelope", "implicit", "unroll"])
def test_gradients(dtype: torch.dtype, penalty: float | None, mode: str) -> None:
    cost, closed = problem(3, 5, 7, dtype)
    cost.requires_grad_()
    found = sinkhorn(cost, 0.1, marginal_penalty=penalty, grad=mode)  # type: ignore[arg-type]
    (by_cost,) = torch.autograd.grad(found.value.sum(), cost, retain_graph=True)
    torch.testing.assert_close(by_cost, found.plan.detach())
    if mode != "envelope":
        (by_cost,) = torch.autograd.grad(found.linear.sum(), cost)
        assert torch.isfinite(by_cost).all()
        assert not by_cost[closed].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes_of_costs_and_of_weights(dtype: torch.dtype) -> None:
    """Infinite is what is infinite in the costs, and nothing that is merely large."""
    cost = torch.tensor([[0.0, INF], [5000.0, 1.0]], dtype=dtype)
    weights = torch.tensor([0.5, 0.5], dtype=torch.float64)
    for found in (
        exact(cost, weights, weights),
        sinkhorn(cost, 1.0, weights, weights),
        exact(cost),
        sinkhorn(cost, 1.0),
    ):
        assert found.plan.tolist() == [[0.5, 0.0], [0.0, 0.5]]
        assert float(found.linear) == 0.5
    crossed = torch.tensor([0.75, 0.25], dtype=torch.float64)
    with pytest.raises(ValueError, match="no plan within the finite costs"):
        exact(cost, crossed, crossed.flip(0))
    assert float(exact(cost, crossed.flip(0), crossed).plan[1, 0]) == pytest.approx(0.5, abs=1e-12)


def test_hessian_vector_product() -> None:
    cost, closed = problem(4, 4, 5)
    cost, dear = cost.requires_grad_(), cost.masked_fill(closed, 1e4).requires_grad_()
    products = []
    for each in (cost, dear):
        (plan,) = torch.autograd.grad(sinkhorn(each, 0.2).value.sum(), each, create_graph=True)
        products += torch.autograd.grad(plan.square().sum(), each)
    torch.testing.assert_close(*products, rtol=0, atol=1e-7)


def test_partial_leaves_behind_what_may_not_move() -> None:
    cost = torch.tensor([[INF, INF], [1.0, 2.0]], dtype=torch.float64)
    for reg in (None, 1e-3):
        found = partial(cost, 0.5, reg=reg)
        torch.testing.assert_close(found.plan, cost.new_tensor([[0.0, 0.0], [0.5, 0.0]]), rtol=0, atol=1e-6)
        assert float(found.linear) == pytest.approx(0.5, abs=1e-6)


def test_barycentre_within_reach() -> None:
    cost = torch.tensor([[0.0, INF, 1.0], [INF, 0.0, 1.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
    found = barycentre(cost, torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).double(), reg=0.1)
    torch.testing.assert_close(found.weights, cost.new_tensor([0.0, 0.0, 1.0]), rtol=0, atol=1e-6)


def test_a_weight_that_can_go_nowhere_is_named() -> None:
    cost = torch.tensor([[1.0, INF], [INF, INF]])
    for solver in (exact, lambda cost: sinkhorn(cost, 0.1), lambda cost: sinkhorn(cost, 0.1, marginal_penalty=1.0)):
        with pytest.raises(ValueError, match=r"row \(1,\) has weight, and no finite cost .* expected a finite cost"):
            solver(cost)
    weight = torch.tensor([1.0, 0.0])
    assert sinkhorn(cost, 0.1, weight, weight).plan.tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert exact(cost, weight, weight).plan.tolist() == [[1.0, 0.0], [0.0, 0.0]]
    with pytest.raises(ValueError, match=r"row \(0,\)"):  # finite only where there is no weight
        sinkhorn(torch.tensor([[INF, 1.0], [1.0, 1.0]]), 0.1, None, torch.tensor([1.0, 0.0]))


def test_no_plan_within_the_finite_costs() -> None:
    cost = torch.tensor([[1.0, INF, INF], [1.0, INF, INF], [1.0, 1.0, 1.0]])
    with pytest.raises(ValueError, match="no plan within the finite costs"):
        exact(cost)
    with pytest.warns(RuntimeWarning, match="did not converge"):
        assert not sinkhorn(cost, 0.1).converged


@pytest.mark.parametrize("wrong", [-INF, math.nan])
def test_other_numbers_that_are_not_finite_are_refused(wrong: float) -> None:
    cost = torch.tensor([[1.0, INF], [wrong, 1.0]])
    for solver in (exact, lambda cost: sinkhorn(cost, 0.1), lambda cost: partial(cost, 0.5)):
        with pytest.raises(ValueError, match="cost has 1 entries that are NaN or -inf"):
            solver(cost)


def test_compiled_and_unchecked() -> None:
    cost, closed = problem(5, 4, 4)
    compiled = torch.compile(lambda cost: sinkhorn(cost, 0.1).plan, backend="eager", fullgraph=True)(cost)
    torch.testing.assert_close(compiled, sinkhorn(cost, 0.1).plan)
    assert not compiled[closed].any()
