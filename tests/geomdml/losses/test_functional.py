"""The loss functions against loops written from the equations, limits, and their gradients."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml.losses.functional import (
    batch_transport,
    closure,
    hierarchical_triplet,
    hyphc,
    in_mean_units,
    pairwise_cross_entropy,
    proxy_anchor,
    soft_triple,
    soft_triple_similarity,
)

seeds = st.integers(0, 2**31)
sizes = st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 4))
positive = st.floats(0.05, 20.0)


def distances(shape: tuple[int, ...], seed: int, scale: float = 3.0) -> torch.Tensor:
    return scale * torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def slow_similarity(d: list[float], gamma: float) -> float:
    weights = [math.exp(-x / gamma) for x in d]
    return -sum(w / sum(weights) * x for w, x in zip(weights, d, strict=True))


def slow_soft_triple(dist: torch.Tensor, labels: list[int], gamma: float, scale: float, margin: float) -> list[float]:
    """Equation (3.3), written with its l+ and l−."""
    losses = []
    for row, label in zip(dist.tolist(), labels, strict=True):
        similarity = [slow_similarity(d, gamma) for d in row]
        plus = math.exp(scale * (similarity[label] - margin))
        minus = sum(math.exp(scale * s) for k, s in enumerate(similarity) if k != label)
        losses.append(-math.log(plus / (plus + minus)))
    return losses


@given(sizes, seeds, positive)
def test_similarity_equals_the_loop(shape, seed, gamma):
    dist = distances(shape, seed)
    expected = [[slow_similarity(d, gamma) for d in row] for row in dist.tolist()]
    torch.testing.assert_close(soft_triple_similarity(dist, gamma=gamma), torch.tensor(expected, dtype=torch.float64))


@given(sizes, seeds, positive)
def test_similarity_lies_between_nearest_and_mean_proxy(shape, seed, gamma):
    dist = distances(shape, seed)
    similarity = soft_triple_similarity(dist, gamma=gamma)
    assert (similarity <= -dist.amin(-1) + 1e-12).all()
    assert (similarity >= -dist.mean(-1) - 1e-12).all()


def test_similarity_limits():
    dist = torch.tensor([[[1.0, 2.0, 6.0]]], dtype=torch.float64)
    assert soft_triple_similarity(dist, gamma=1e-4).item() == pytest.approx(-1.0)
    assert soft_triple_similarity(dist, gamma=1e8).item() == pytest.approx(-3.0)
    assert soft_triple_similarity(dist[..., :1], gamma=5.0).item() == -1.0


@given(sizes, seeds, positive, st.floats(0.1, 5.0), st.floats(0.0, 2.0))
def test_soft_triple_equals_the_loop(shape, seed, gamma, scale, margin):
    dist = distances(shape, seed)
    labels = torch.randint(shape[1], shape[:1], generator=torch.Generator().manual_seed(seed))
    expected = torch.tensor(slow_soft_triple(dist, labels.tolist(), gamma, scale, margin), dtype=torch.float64)
    settings = {"gamma": gamma, "scale": scale, "margin": margin}
    torch.testing.assert_close(soft_triple(dist, labels, **settings, reduction="none"), expected, atol=1e-9, rtol=1e-7)
    torch.testing.assert_close(soft_triple(dist, labels, **settings), expected.mean(), atol=1e-9, rtol=1e-7)
    torch.testing.assert_close(
        soft_triple(dist, labels, **settings, reduction="sum"), expected.sum(), atol=1e-9, rtol=1e-7
    )


@given(sizes, seeds)
def test_one_hot_targets_are_labels(shape, seed):
    dist = distances(shape, seed)
    labels = torch.randint(shape[1], shape[:1], generator=torch.Generator().manual_seed(seed))
    settings = {"gamma": 0.5, "scale": 4.0, "margin": 0.3}
    one_hot = torch.nn.functional.one_hot(labels, shape[1]).double()
    torch.testing.assert_close(soft_triple(dist, one_hot, **settings), soft_triple(dist, labels, **settings))


@given(sizes, seeds, st.floats(0.01, 100.0))
def test_distances_in_mean_units_make_the_loss_scale_free(shape, seed, factor):
    dist = distances(shape, seed) + 0.01
    labels = torch.zeros(shape[0], dtype=torch.long)
    settings = {"gamma": 0.2, "scale": 20.0, "margin": 0.1}
    one, other = (soft_triple(in_mean_units(k * dist), labels, **settings) for k in (1.0, factor))
    torch.testing.assert_close(one, other)


def test_margin_and_large_logits_stay_finite_in_float32():
    dist = torch.tensor([[[9.2], [0.0]]], requires_grad=True)
    loss = soft_triple(dist, torch.tensor([0]), gamma=5.0, scale=20.0, margin=20.0)
    assert loss.item() == pytest.approx(20 * (9.2 + 20))
    loss.backward()
    assert torch.isfinite(dist.grad).all()


def test_gradients():
    dist = distances((3, 4, 2), 0).requires_grad_()
    labels, scale = torch.tensor([0, 3, 1]), torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda d, s: soft_triple(d, labels, gamma=0.7, scale=s, margin=0.2), (dist, scale))
    assert torch.autograd.gradcheck(lambda d: in_mean_units(d), (dist,))
    pairs = distances((5, 3), 1).requires_grad_(), distances((5, 3), 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, d: hyphc(s, d, gamma=0.5), pairs)


def slow_hyphc(similarity: list[float], depth: list[float], gamma: float) -> float:
    weights = [math.exp(d / gamma) for d in depth]
    return sum(similarity) - sum(s * w / sum(weights) for s, w in zip(similarity, weights, strict=True))


@given(st.integers(1, 6), seeds, positive)
def test_hyphc_equals_the_loop(count, seed, gamma):
    similarity, depth = distances((count, 3), seed, 1.0), distances((count, 3), seed + 1)
    expected = [slow_hyphc(s, d, gamma) for s, d in zip(similarity.tolist(), depth.tolist(), strict=True)]
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(hyphc(similarity, depth, gamma=gamma, reduction="none"), expected)
    torch.testing.assert_close(hyphc(similarity, depth, gamma=gamma), expected.mean())


@given(seeds, st.permutations(range(3)))
def test_hyphc_does_not_depend_on_the_order_of_pairs(seed, order):
    similarity, depth = distances((4, 3), seed, 1.0), distances((4, 3), seed + 1)
    torch.testing.assert_close(
        hyphc(similarity, depth, gamma=0.3), hyphc(similarity[:, order], depth[:, order], gamma=0.3)
    )


DIST = torch.rand(2, 3, 2)
GOOD = {"gamma": 1.0, "scale": 1.0, "margin": 0.0}


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, r"dist has shape \(2, 3\)", lambda: soft_triple_similarity(DIST[..., 0], gamma=1.0)),
        (ValueError, "gamma = 0.0", lambda: soft_triple_similarity(DIST, gamma=0.0)),
        (ValueError, "gamma = nan", lambda: soft_triple_similarity(DIST, gamma=float("nan"))),
        (TypeError, "dist has dtype torch.int64", lambda: soft_triple_similarity(DIST.long(), gamma=1.0)),
        (ValueError, "scale = -1.0", lambda: soft_triple(DIST, torch.tensor([0, 1]), **GOOD | {"scale": -1.0})),
        (ValueError, "labels go from 0 to 3; expected 0 to 2", lambda: soft_triple(DIST, torch.tensor([0, 3]), **GOOD)),
        (ValueError, "labels go from -1", lambda: soft_triple(DIST, torch.tensor([0, -1]), **GOOD)),
        (ValueError, r"labels has shape \(3,\)", lambda: soft_triple(DIST, torch.tensor([0, 1, 2]), **GOOD)),
        (ValueError, r"expected \(B, C\) = \(2, 3\)", lambda: soft_triple(DIST, torch.rand(2, 2), **GOOD)),
        (ValueError, r"expected \(M, 3\)", lambda: hyphc(torch.rand(4, 2), torch.rand(4, 2), gamma=1.0)),
        (ValueError, r"expected \(M, 3\)", lambda: hyphc(torch.rand(4, 3), torch.rand(5, 3), gamma=1.0)),
    ],
)
def test_what_cannot_be_right_is_refused_by_name(error, message, call):
    with pytest.raises(error, match=message):
        call()


SQUARE, ROWS = torch.ones(2, 2), torch.ones(2, 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda reduction: pairwise_cross_entropy(SQUARE, torch.tensor([0, 0]), temperature=1.0, reduction=reduction),
        lambda reduction: batch_transport(SQUARE, SQUARE, reduction=reduction),
        lambda reduction: closure(SQUARE, reduction=reduction),
        lambda reduction: hyphc(ROWS, ROWS, gamma=1.0, reduction=reduction),
        lambda reduction: hierarchical_triplet(ROWS, ROWS, margin=1.0, reduction=reduction),
        lambda reduction: soft_triple(DIST, torch.tensor([0, 1]), **GOOD, reduction=reduction),
    ],
)
def test_an_unknown_reduction_is_refused(call):
    with pytest.raises(ValueError, match="reduction"):
        call("average")


@pytest.mark.parametrize(
    "call",
    [
        lambda margin: soft_triple(DIST, torch.tensor([0, 1]), **GOOD | {"margin": margin}),
        lambda margin: proxy_anchor(SQUARE, torch.tensor([0, 1]), scale=1.0, margin=margin),
        lambda margin: hierarchical_triplet(ROWS, ROWS, margin=margin),
    ],
)
@pytest.mark.parametrize("margin", [math.nan, math.inf])
def test_an_infinite_or_nan_margin_is_refused(call, margin):
    with pytest.raises(ValueError, match=r"margin = .*; expected a finite number"):
        call(margin)


@pytest.mark.parametrize("worst", [math.nan, -0.1])
def test_negative_or_nan_targets_are_refused(worst):
    targets = torch.full((2, 3), 1 / 3)
    targets[1, 2] = worst
    with pytest.raises(ValueError, match="labels has targets that are below 0 or NaN"):
        soft_triple(DIST, targets, **GOOD)
