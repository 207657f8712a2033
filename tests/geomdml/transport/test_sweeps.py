"""Small problems go by sweeps in C; without kernels by NumPy's: the same plans, wherever the memory begins."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geomdml._native import kernels
from geomdml.transport import sinkhorn


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([torch.float32, torch.float64]), st.integers(0, 2**31))
def test_with_and_without_kernels_the_plans_are_the_same(n, m, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    cost = torch.rand(n, m, dtype=dtype, generator=generator)
    weights = torch.rand(n, dtype=dtype, generator=generator) + 0.01
    a = weights / weights.sum()
    found = []
    for enabled in (True, False):
        with kernels(enabled):
            found.append(sinkhorn(cost, 0.2, a, grad="none"))
    ours, theirs = found
    assert torch.equal(ours.iterations, theirs.iterations)
    rtol = 1e-12 if dtype == torch.float64 else 1e-4
    for name in ("plan", "value", "f", "g"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_numbers_do_not_depend_on_where_the_memory_begins(dtype):
    cost = torch.rand(13, 13, dtype=dtype, generator=torch.Generator().manual_seed(0))
    plans = []
    for offset in range(5):
        moved = torch.empty(13 * 13 + 5, dtype=dtype)[offset : offset + 13 * 13].view(13, 13)
        plans.append(sinkhorn(moved.copy_(cost), 0.1, grad="none").plan)
    assert all(torch.equal(plan, plans[0]) for plan in plans)
