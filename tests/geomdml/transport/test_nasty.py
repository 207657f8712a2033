"""Small problems at which fast iterations lose an entry that the plan needs, and weights that are next to nothing."""

import math
import warnings

import pytest
import torch

from geomdml.transport import exact, sinkhorn

SWAP = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize("reg", [0.1, 0.01, 1e-3, 5e-4, 2e-4, 1e-4])
@pytest.mark.parametrize("p", [0.5, 0.75, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("off", [1e-6, -1e-4, 1e-3, -1e-2, 0.2])
def test_two_by_two_is_the_closed_form(reg: float, p: float, off: float):
    """T = [[p − s, s], [q − p + s, 1 − q − s]] with s(q − p + s) = e^(−2/reg)·(p − s)(1 − q − s), a quadratic in s."""
    q = p + off
    if not 0 < q < 1:
        q = p - off
    k = math.exp(-2 / reg)
    # (1 − k)s² + (q − p + k(p + 1 − q))s − k·p(1 − q) = 0, s the mass from 1 to 2
    A, B, D = 1 - k, q - p + k * (p + 1 - q), k * p * (1 - q)
    root = math.sqrt(B * B + 4 * A * D)
    s = 2 * D / (B + root) if B > 0 else (root - B) / (2 * A)
    a, b = (torch.tensor([w, 1 - w], dtype=torch.float64) for w in (p, q))
    result = sinkhorn(SWAP, reg, a, b)  # a warning is an error
    expected = torch.tensor([[p - s, s], [q - p + s, 1 - q - s]], dtype=torch.float64)
    torch.testing.assert_close(result.plan, expected, rtol=0, atol=2e-9)
    assert bool(result.converged)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_costs_of_0_and_1_are_solved(dtype: torch.dtype):
    draw = torch.Generator().manual_seed(0)
    for _ in range(300):
        n, m = (int(x) for x in torch.randint(1, 8, (2,), generator=draw))
        cost = torch.randint(0, 2, (n, m), generator=draw).to(dtype)
        a, b = (torch.rand(size, generator=draw, dtype=torch.float64) for size in (n, m))
        reg = 10 ** -float((3 if dtype == torch.float32 else 4) * torch.rand(1, generator=draw))
        a, b = (a / a.sum()).to(dtype), (b / b.sum()).to(dtype)
        result = sinkhorn(cost, reg, a, b)
        tol = 2e-5 if dtype == torch.float32 else 2e-9
        assert float((result.plan.sum(-1) - a).abs().sum() + (result.plan.sum(-2) - b).abs().sum()) < tol


@pytest.mark.parametrize(("dtype", "least"), [(torch.float32, -45.0), (torch.float64, -305.0)])
def test_weights_next_to_nothing(dtype: torch.dtype, least: float):
    """Nothing is NaN; potentials are finite wherever there is weight."""
    draw = torch.Generator().manual_seed(1)
    for _ in range(300):
        n, m = (int(x) for x in torch.randint(1, 6, (2,), generator=draw))
        cost = torch.randint(0, 2, (n, m), generator=draw).to(dtype)
        weights = []
        for size in (n, m):
            w = 10 ** (least * torch.rand(size, generator=draw, dtype=torch.float64))
            w[0] = 1.0
            weights.append((w / w.sum()).to(dtype))
        a, b = weights
        result = sinkhorn(cost, 10 ** -float(3 * torch.rand(1, generator=draw)), a, b)
        assert bool(result.plan.isfinite().all()) and bool(result.value.isfinite())
        assert torch.equal(result.f.isfinite(), a > 0) and torch.equal(result.g.isfinite(), b > 0)


def test_a_nasty_problem_leaves_the_others_of_a_batch_alone():
    cost = SWAP.float().expand(2, 2, 2)
    a = torch.tensor([[1.0, 1e-15], [0.5, 0.5]])
    result = sinkhorn(cost, 0.01, a, torch.tensor([0.5, 0.5]))
    assert bool(result.converged.all())
    torch.testing.assert_close(result.plan[0], torch.tensor([[0.5, 0.5], [0.0, 0.0]]), rtol=0, atol=1e-5)
    torch.testing.assert_close(result.plan[1], torch.eye(2) / 2, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("penalty", [1.0, 100.0, 1e4, 1e6, 1e8, (1e4, 1e4), (1e5, 10.0)])
def test_unequal_masses_under_any_penalty(dtype: torch.dtype, penalty):
    """1 × 1: t solves C + ε log t + ρ_a log(t/a) + ρ_b log(t/b) = 0."""
    result = sinkhorn(
        torch.ones(1, 1, dtype=dtype),
        0.05,
        torch.ones(1, dtype=dtype),
        torch.full((1,), 2.0, dtype=dtype),
        marginal_penalty=penalty,
    )
    rho_a, rho_b = penalty if isinstance(penalty, tuple) else (penalty, penalty)
    mass = math.exp((rho_b * math.log(2.0) - 1) / (0.05 + rho_a + rho_b))
    assert float(result.plan) == pytest.approx(mass, rel=1e-5 if dtype == torch.float32 else 1e-9)
    assert int(result.iterations) < 20


def test_the_warning_advises_what_helps():
    cost = torch.rand(20, 20, generator=torch.Generator().manual_seed(0))
    with pytest.warns(RuntimeWarning, match="expected a larger max_iter, tol or reg"):
        sinkhorn(cost, 1e-3, max_iter=5)
    with pytest.warns(RuntimeWarning, match="more do not help; expected a larger tol or reg"):
        sinkhorn(torch.rand(300, 300, dtype=torch.float64), 0.05, tol=1e-30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sinkhorn(cost, 1e-3)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")  # torch, of its own forward mode
@pytest.mark.parametrize("solver", [lambda cost: sinkhorn(cost, 0.1).value, lambda cost: exact(cost).value])
@pytest.mark.parametrize("transform", ["grad", "hessian", "jacfwd", "jacrev", "vmap"])
def test_a_transform_of_torch_func_is_refused_by_name(transform: str, solver):
    with pytest.raises(NotImplementedError, match=r"expected torch\.autograd\.grad"):
        getattr(torch.func, transform)(solver)(SWAP.expand(2, 2, 2) if transform == "vmap" else SWAP)
