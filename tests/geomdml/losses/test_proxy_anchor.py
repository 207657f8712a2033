"""Proxy anchor against a loop, against pytorch-metric-learning, and its gradients; with several proxies a class."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_metric_learning.losses import ProxyAnchorLoss

from geomdml.losses import MultiProxyAnchorLoss
from geomdml.losses.functional import proxy_anchor, soft_triple_similarity
from geomdml.spaces import Euclidean, Hyperbolic

seeds = st.integers(0, 2**31)


def similarities(shape, seed):
    return 2 * torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 1


def slow_proxy_anchor(similarity, labels, scale, margin):
    rows, classes = similarity.tolist(), similarity.shape[1]
    draw = [
        math.log(1 + sum(math.exp(-scale * (row[c] - margin)) for row, y in zip(rows, labels, strict=True) if y == c))
        for c in sorted(set(labels))
    ]
    push = [
        math.log(1 + sum(math.exp(scale * (row[c] + margin)) for row, y in zip(rows, labels, strict=True) if y != c))
        for c in range(classes)
    ]
    return sum(draw) / len(draw) + sum(push) / classes


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), seeds, st.floats(0.1, 40.0), st.floats(-0.5, 0.5))
def test_it_equals_the_loop(labels, seed, scale, margin):
    similarity = similarities((len(labels), 5), seed)
    found = proxy_anchor(similarity, torch.tensor(labels), scale=scale, margin=margin)
    torch.testing.assert_close(found.item(), slow_proxy_anchor(similarity, labels, scale, margin), rtol=1e-9, atol=1e-9)


@given(seeds)
def test_of_cosines_it_is_that_of_pytorch_metric_learning(seed):
    torch.manual_seed(seed)
    theirs, x, labels = ProxyAnchorLoss(6, 8), torch.randn(7, 8), torch.randint(6, (7,))
    cosines = torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(theirs.proxies.detach()).T
    torch.testing.assert_close(
        proxy_anchor(cosines, labels, scale=32.0, margin=0.1), theirs(x, labels).detach(), rtol=1e-4, atol=1e-4
    )


@given(seeds)
def test_gradients(seed):
    similarity, labels = similarities((4, 3), seed).requires_grad_(), torch.tensor([0, 0, 1, 0])  # 2 is not there
    assert torch.autograd.gradcheck(lambda s: proxy_anchor(s, labels, scale=5.0, margin=0.1), (similarity,))
    alone = similarities((2, 1), seed).requires_grad_()  # nothing to push away
    assert torch.autograd.gradcheck(lambda s: proxy_anchor(s, torch.tensor([0, 0]), scale=5.0, margin=0.1), (alone,))


@pytest.mark.parametrize("space", [Euclidean(), Hyperbolic(c=0.5)])
@pytest.mark.parametrize("centers", [1, 3])
def test_the_module_is_proxy_anchor_of_the_soft_minimum(space, centers):
    torch.manual_seed(0)
    loss = MultiProxyAnchorLoss(4, 6, centers_per_class=centers, space=space, gamma=0.3, scale=7.0, margin=0.2)
    x, labels = torch.randn(5, 6), torch.tensor([0, 1, 1, 3, 0])
    dist = space.pairwise_dist(x, loss.proxies.vectors.flatten(0, 1)).view(5, 4, centers)
    similarity = 1 + soft_triple_similarity(dist / dist.mean(), gamma=0.3)
    expected = slow_proxy_anchor(similarity.double().detach(), labels.tolist(), 7.0, 0.2)
    torch.testing.assert_close(loss(x, labels).item(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("space", [Euclidean(), Hyperbolic(c=0.5)])
def test_it_learns(space):
    torch.manual_seed(0)
    loss, labels = MultiProxyAnchorLoss(3, 4, space=space), torch.arange(12) % 3
    x = torch.randn(12, 4).requires_grad_()
    optimizer = torch.optim.Adam([x, *loss.parameters()], lr=0.05)
    first = loss(x, labels).item()
    for _ in range(100):
        optimizer.zero_grad()
        loss(x, labels).backward()
        optimizer.step()
    assert loss(x, labels).item() < 0.4 * first
    dist = space.pairwise_dist(x.detach(), loss.proxies.vectors.detach().flatten(0, 1))
    assert torch.equal(dist.argmin(1) // 2, labels)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "expected .B, C.", lambda s, y: proxy_anchor(s[0], y, scale=1.0, margin=0.1)),
        (ValueError, "neither of them 0", lambda s, y: proxy_anchor(s[:0], y[:0], scale=1.0, margin=0.1)),
        (
            ValueError,
            "labels go from 0 to 3",
            lambda s, y: proxy_anchor(s, y + torch.tensor([0, 3]), scale=1.0, margin=0),
        ),
        (ValueError, "scale = 0", lambda s, y: proxy_anchor(s, y, scale=0.0, margin=0.1)),
    ],
)
def test_what_is_refused(error, message, call):
    with pytest.raises(error, match=message):
        call(torch.zeros(2, 3), torch.tensor([0, 0]))
