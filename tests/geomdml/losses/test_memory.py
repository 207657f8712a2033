"""The losses with proxies make nothing of the size of (B, C·K, D): memory is O(B·C·K + (B + C·K)·D)."""

from collections.abc import Callable
from math import prod

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from geomdml.losses import CHESTLoss, SoftTripleLoss
from geomdml.nn import HyperbolicHead
from geomdml.spaces import Hyperbolic


def largest_allocation(step: Callable[[], object]) -> int:
    """The most bytes that one operation asks for, those inside the operators of the library included."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step()
    return max(event.self_cpu_memory_usage for event in found.events())


def chest(C: int, K: int, D: int) -> Callable[[Tensor, Tensor], Tensor]:
    head, loss = HyperbolicHead(D, D, space=Hyperbolic(c=0.5)), CHESTLoss(C, D, centers_per_class=K)
    return lambda x, labels: loss(x, labels, head=head)


LOSSES = {
    "CHEST": chest,
    "SoftTriple": lambda C, K, D: SoftTripleLoss(C, D, centers_per_class=K),
    "SoftTriple, hyperbolic": lambda C, K, D: SoftTripleLoss(C, D, centers_per_class=K, space=Hyperbolic(c=0.5)),
}


@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("size", [(64, 300, 2, 64), (8, 900, 10, 32)])
def test_the_largest_allocation_of_a_step(make, size):
    B, C, K, D = size
    torch.manual_seed(0)
    loss, x, labels = make(C, K, D), torch.randn(B, D, requires_grad=True), torch.randint(C, (B,))
    largest = largest_allocation(lambda: loss(x, labels).backward())
    # Float64 of either matrix; three points a triplet, C triplets.
    assert largest <= 8 * max(B * C * K, C * K * D, 3 * C * D)
    assert largest < 4 * prod(size) / 2


def test_what_an_operator_allocates_is_seen():
    x = torch.randn(500, 64, dtype=torch.float64)
    assert largest_allocation(lambda: Hyperbolic().pairwise_dist(x, x)) >= 8 * 500 * 500


def test_a_broadcast_is_seen():
    x, y = torch.randn(64, 64, requires_grad=True), torch.randn(600, 64)
    largest = largest_allocation(lambda: (x.unsqueeze(1) - y).square().sum(-1).sqrt().sum().backward())
    assert largest >= 4 * 64 * 600 * 64


@pytest.mark.parametrize("size", [(100, 3997, 2, 64), (75, 11318, 2, 64)], ids=["In-shop", "SOP"])
def test_a_step_at_the_size_of_the_benchmarks(size):
    B, C, K, D = size
    loss, x = chest(C, K, D), torch.randn(B, D, requires_grad=True)
    loss(x, torch.randint(C, (B,))).backward()
    assert bool(x.grad.isfinite().all())
