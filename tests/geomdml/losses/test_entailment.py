"""The losses of general and special things: partners by distance, and cones that hold what they entail."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from geomdml import cones
from geomdml.losses import ContrastiveLoss, EntailmentLoss
from geomdml.losses.functional import contrastive, entailment
from geomdml.spaces import Euclidean, Hyperbolic, Product

SPACES = [None, Hyperbolic(0.7), Hyperbolic(1.0, chart="lorentz"), Product([Hyperbolic(1.0), Euclidean()], [2, 2])]


@given(st.integers(1, 5), st.floats(0.02, 10), st.integers(0, 100))
def test_contrastive_is_the_mean_of_two_cross_entropies(count, temperature, seed):
    dist = 5 * torch.rand(count, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    logits, own = -dist / temperature, torch.arange(count)
    each = [F.cross_entropy(direction, own, reduction="none") for direction in (logits, logits.T)]
    found = contrastive(dist, temperature=temperature, reduction="none")
    torch.testing.assert_close(found, sum(each) / 2, rtol=1e-12, atol=1e-12)
    assert contrastive(dist, temperature=temperature) == found.mean()
    order = torch.randperm(count)
    shuffled = contrastive(dist[order][:, order], temperature=temperature, reduction="none")
    torch.testing.assert_close(shuffled, found[order], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(contrastive(dist.T, temperature=temperature, reduction="none"), found)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_contrastive_measures_in_its_space_and_learns_its_temperature(space):
    x, y = torch.randn(5, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    loss = ContrastiveLoss(space=space, temperature=0.5)
    dist = (space or Euclidean()).pairwise_dist(x, y)
    torch.testing.assert_close(loss(x, y).double(), contrastive(dist, temperature=0.5), rtol=1e-6, atol=0)
    loss(x, y).backward()
    step = 1e-4
    up, down = (contrastive(dist, temperature=0.5 * math.exp(sign * step)) for sign in (1, -1))
    assert float(loss.log_temperature.grad) == pytest.approx(float(up - down) / (2 * step), rel=1e-4, abs=1e-6)
    fixed = ContrastiveLoss(space=space, temperature=0.5, learnable=False)
    assert not list(fixed.parameters()) and fixed(x, y) == loss(x, y)


def test_entailment_is_the_mean_of_what_the_cones_leave_out():
    space = Hyperbolic(c=0.7, learnable=True)
    general, special = torch.randn(2, 6, 3, dtype=torch.float64).unbind()
    each = cones.entailment(general, special, c=space.c, k=0.2)
    loss = EntailmentLoss(space=space, k=0.2)
    assert torch.equal(loss(general, special), each.mean()) and each.max() > 0
    assert torch.equal(EntailmentLoss(space=space, k=0.2, reduction="none")(general, special), each)
    general.requires_grad_()
    assert torch.autograd.gradcheck(loss, (general, special))
    loss(general, special).backward()
    assert general.grad.any() and space.log_c.grad.isfinite()
    with torch.no_grad():
        assert loss(general, 3 * general) == 0  # beyond a point on its ray all is entailed


def test_training_brings_things_into_their_cones():
    torch.manual_seed(0)
    space = Hyperbolic(c=1.0)
    general, special = (0.5 * torch.randn(2, 16, 4)).unbind()
    general, special = general.requires_grad_(), special.requires_grad_()
    loss, optimizer = EntailmentLoss(space=space), torch.optim.Adam([general, special], lr=0.05)
    before = loss(general, special).item()
    for _ in range(100):
        optimizer.zero_grad()
        loss(general, special).backward()
        optimizer.step()
    assert before > 1 and loss(general, special).item() < 0.05


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"expected \(N, N\)"):
        contrastive(torch.zeros(2, 3), temperature=1.0)
    with pytest.raises(ValueError, match=r"expected \(N, N\) with N > 0"):
        ContrastiveLoss()(torch.zeros(0, 3), torch.zeros(0, 3))
    with pytest.raises(ValueError, match=r"temperature = 0"):
        ContrastiveLoss(temperature=0.0)
    with pytest.raises(ValueError, match=r"expected \(N,\), N > 0"):
        entailment(torch.zeros(0), torch.zeros(0))
    with pytest.raises(ValueError, match=r'expected Hyperbolic\(..., chart="tangent"\)'):
        EntailmentLoss(space=Hyperbolic(chart="ball"))
    with pytest.raises(ValueError, match="k = -1"):
        EntailmentLoss(space=Hyperbolic(), k=-1.0)
    with pytest.raises(ValueError):
        EntailmentLoss(space=Hyperbolic())(torch.zeros(2, 3), torch.zeros(3, 3))
