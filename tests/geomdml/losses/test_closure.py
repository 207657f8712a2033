"""The loss of taxonomies: its formula, its limits, its gradient, and what it does to a small tree."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml import hierarchy
from geomdml.losses import ClosureLoss
from geomdml.losses.functional import closure
from geomdml.spaces import Euclidean, Hyperbolic


@given(st.integers(1, 4), st.integers(0, 5), st.floats(0.1, 10), st.integers(0, 100))
def test_it_is_minus_the_logarithm_of_the_softmax(nodes, negatives, temperature, seed):
    dist = 5 * torch.rand(nodes, 1 + negatives, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    weights = torch.exp(-dist / temperature)
    wanted = -torch.log(weights[:, 0] / weights.sum(1))
    found = closure(dist, temperature=temperature, reduction="none")
    assert torch.allclose(found, wanted, rtol=1e-12, atol=1e-12)
    assert closure(dist, temperature=temperature) == found.mean()
    assert closure(dist, temperature=temperature, reduction="sum") == found.sum()
    shifted = closure(dist + 3, temperature=temperature, reduction="none")
    assert torch.allclose(shifted, found, rtol=1e-9, atol=1e-9)  # only differences count


def test_limits_stay_finite():
    far = torch.tensor([[0.0, 1e5, 1e5], [1e5, 0.0, 1e5]])
    assert closure(far, reduction="none").tolist() == [0, 1e5]
    assert closure(torch.zeros(1, 4)) == pytest.approx(torch.tensor(4.0).log().item())
    assert closure(torch.tensor([[7.0]])) == 0  # no negatives: nothing to learn


@pytest.mark.parametrize("space", [None, Euclidean(), Hyperbolic(0.7), Hyperbolic(1.0, chart="ball")], ids=repr)
def test_the_module_measures_in_its_space(space):
    torch.manual_seed(0)
    nodes, candidates = 0.2 * torch.randn(3, 2), 0.2 * torch.randn(3, 4, 2)
    each = (space or Euclidean()).dist(nodes[:, None].expand(3, 4, 2), candidates)
    loss = ClosureLoss(space=space, temperature=0.5, reduction="none")
    assert torch.allclose(loss(nodes, candidates), closure(each, temperature=0.5, reduction="none"))


def test_gradients_are_exact_and_reach_a_learned_curvature():
    torch.manual_seed(0)
    nodes, candidates = torch.randn(2, 3).double().requires_grad_(), torch.randn(2, 4, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(ClosureLoss(space=Hyperbolic(1.0)), (nodes, candidates))
    space = Hyperbolic(1.0, learnable=True)
    ClosureLoss(space=space)(nodes, candidates).backward()
    assert space.log_c.grad.isfinite() and space.log_c.grad != 0


def test_it_embeds_a_binary_tree():
    tree = torch.stack([torch.arange(1, 31), (torch.arange(1, 31) - 1) // 2], 1)
    pairs = hierarchy.closure(tree)
    is_ancestor = torch.eye(31, dtype=torch.bool)
    is_ancestor[pairs[:, 0], pairs[:, 1]] = True
    others = [torch.nonzero(~row)[:, 0] for row in is_ancestor]
    generator = torch.Generator().manual_seed(0)
    points = torch.nn.Parameter(1e-2 * torch.randn(31, 2, generator=generator))
    space, optimizer = Hyperbolic(1.0), torch.optim.Adam([points], 0.1)
    loss = ClosureLoss(space=space)
    before = hierarchy.reconstruction(points.detach(), pairs, space=space)
    for _ in range(150):
        drawn = [other[torch.randint(len(other), (10,), generator=generator)] for other in others]
        negatives = torch.stack(drawn)[pairs[:, 0]]
        optimizer.zero_grad()
        loss(points[pairs[:, 0]], points[torch.cat([pairs[:, 1:], negatives], 1)]).backward()
        optimizer.step()
    after = hierarchy.reconstruction(points.detach(), pairs, space=space)
    assert before.map < 0.5 < 0.9 < after.map
    assert after.mean_rank < 1.6 < 5 < before.mean_rank


def test_what_is_no_matrix_of_distances_is_refused():
    for wrong in (torch.zeros(3), torch.zeros(0, 2), torch.zeros(2, 0)):
        with pytest.raises(ValueError, match=r"expected \(B, 1 \+ K\)"):
            closure(wrong)
    with pytest.raises(ValueError, match="temperature = 0"):
        closure(torch.zeros(1, 2), temperature=0.0)
