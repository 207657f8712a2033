"""Hyp-ViT's pairwise cross-entropy against loops, the authors' form of it, and pytorch-metric-learning."""

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from pytorch_metric_learning.losses import NTXentLoss
from torch.nn.functional import cross_entropy

from geomdml.losses import PairwiseCrossEntropyLoss
from geomdml.losses.functional import in_mean_units, pairwise_cross_entropy
from geomdml.pml import SpaceDistance
from geomdml.spaces import Euclidean, Hyperbolic

SPACES = pytest.mark.parametrize("space", [Euclidean(), Hyperbolic(0.1), Hyperbolic(0.7, chart="ball")], ids=repr)
classes = st.lists(st.integers(0, 3), min_size=2, max_size=9)
seeds = st.integers(0, 2**31)


def distances(rows: int, columns: int, seed: int) -> torch.Tensor:
    return 3 * torch.rand(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def points(count: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return 0.3 * torch.randn(count, 4, dtype=dtype, generator=torch.Generator().manual_seed(0))


def slow(dist: list[list[float]], labels: list[int], ref_labels: list[int], itself: bool, temperature: float):
    losses = []
    for i, row in enumerate(dist):
        for j, label in enumerate(ref_labels):
            if label == labels[i] and not (itself and i == j):
                negatives = [
                    math.exp(-row[k] / temperature) for k, other in enumerate(ref_labels) if other != labels[i]
                ]
                positive = math.exp(-row[j] / temperature)
                losses.append(-math.log(positive / (positive + sum(negatives))))
    return torch.tensor(losses, dtype=torch.float64)


@given(classes, seeds, st.floats(0.1, 5.0))
def test_the_loop(labels, seed, temperature):
    assume(len(set(labels)) < len(labels))
    dist, y = distances(len(labels), len(labels), seed), torch.tensor(labels)
    expected = slow(dist.tolist(), labels, labels, True, temperature)
    for reduction, value in (("none", expected), ("mean", expected.mean()), ("sum", expected.sum())):
        found = pairwise_cross_entropy(dist, y, temperature=temperature, reduction=reduction)
        torch.testing.assert_close(found, value, atol=1e-8, rtol=1e-7)


@given(classes, classes, seeds)
def test_the_loop_against_a_reference_set(labels, others, seed):
    assume(set(labels) & set(others))
    dist = distances(len(labels), len(others), seed)
    found = pairwise_cross_entropy(dist, torch.tensor(labels), torch.tensor(others), temperature=0.5, reduction="none")
    torch.testing.assert_close(found, slow(dist.tolist(), labels, others, False, 0.5), atol=1e-8, rtol=1e-7)


@SPACES
def test_two_of_a_class_are_the_authors_form(space):
    """A softmax over the other view of all, and the own view of all others."""
    x, y = points(10).split(5)
    views = [(a, b, -space.pairwise_dist(a, b) / 0.2, -space.pairwise_dist(a, a) / 0.2) for a, b in ((x, y), (y, x))]
    expected = torch.stack(
        [
            cross_entropy(torch.cat([cross, own - 1e9 * torch.eye(5)], dim=1), torch.arange(5))
            for _, _, cross, own in views
        ]
    ).mean()
    loss = PairwiseCrossEntropyLoss(space=space, temperature=0.2)
    torch.testing.assert_close(loss(torch.cat([x, y]), torch.arange(5).repeat(2)), expected)


@SPACES
def test_a_peer(space):
    x, labels = points(9), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 1])
    peer = NTXentLoss(temperature=0.7, distance=SpaceDistance(space))
    found = PairwiseCrossEntropyLoss(space=space, temperature=0.7)
    torch.testing.assert_close(found(x, labels), peer(x, labels))
    torch.testing.assert_close(
        found(x[:4], labels[:4], None, x[4:], labels[4:]), peer(x[:4], labels[:4], ref_emb=x[4:], ref_labels=labels[4:])
    )


def test_gradients():
    labels = torch.tensor([0, 0, 1, 1, 0])
    dist = distances(5, 5, 0).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: pairwise_cross_entropy(d, labels, temperature=0.5), (dist,))
    for relative in (False, True):
        loss = PairwiseCrossEntropyLoss(space=Hyperbolic(0.5), relative=relative)
        assert torch.autograd.gradcheck(lambda x, loss=loss: loss(x, labels), (points(5).requires_grad_(),))


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 0, 1, 2]])
@pytest.mark.parametrize("scale", [0.0, 1e-6, 1.0, 1e4])
def test_gradients_are_finite_without_negatives_at_duplicates_and_far_out(labels, scale):
    x = (scale * points(4, torch.float32)).requires_grad_()
    for space in (None, Hyperbolic(1.0)):
        value = PairwiseCrossEntropyLoss(space=space)(x, torch.tensor(labels))
        (gradient,) = torch.autograd.grad(value, x)
        assert value.isfinite() and gradient.isfinite().all()
    if len(set(labels)) == 1:
        assert value == 0 and not gradient.any()  # nothing to tell the positives from


def test_relative_distances_make_the_loss_scale_free():
    x, labels = points(6), torch.tensor([0, 0, 1, 1, 2, 2])
    loss = PairwiseCrossEntropyLoss(relative=True)
    torch.testing.assert_close(loss(x, labels), loss(50 * x, labels))
    dist = in_mean_units(Euclidean().pairwise_dist(x, x))
    torch.testing.assert_close(loss(x, labels), pairwise_cross_entropy(dist, labels, temperature=0.2))


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (
            ValueError,
            r"dist has shape \(2, 3\); expected \(N, P\)",
            lambda d, y: pairwise_cross_entropy(d, y, temperature=1.0),
        ),
        (ValueError, "temperature = 0", lambda d, y: pairwise_cross_entropy(d[:, :2], y, temperature=0.0)),
        (TypeError, "dist has dtype", lambda d, y: pairwise_cross_entropy(d[:, :2].long(), y, temperature=1.0)),
        (ValueError, "no two of one class", lambda d, y: pairwise_cross_entropy(d[:, :2], y, temperature=1.0)),
        (ValueError, "expected both or neither", lambda d, y: PairwiseCrossEntropyLoss()(d, y, None, d)),
    ],
)
def test_what_cannot_be_right_is_refused(error, message, call):
    with pytest.raises(error, match=message):
        call(torch.rand(2, 3), torch.tensor([0, 1]))
