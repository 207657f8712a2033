"""Each loss by its name, against its formula written out; one signature for all."""

import itertools
import math

import pytest
import torch

from apps.networks.pair_losses import LOSSES, pair_loss
from geomdml.spaces import Hyperbolic

LABELS, REF_LABELS = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 2])


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 3, generator=generator), LABELS, torch.randn(3, 3, generator=generator), REF_LABELS


def pairs(x, labels):
    """Distances of the pairs of one class and of two, each pair twice, as that library counts them."""
    found = {True: [], False: []}
    for i, j in itertools.permutations(range(len(x)), 2):
        found[bool(labels[i] == labels[j])].append(float((x[i] - x[j]).norm()))
    return found[True], found[False]


def mean_above_0(values):
    above = [value for value in values if value > 0]
    return sum(above) / len(above) if above else 0.0


def on(loss, batches):
    x, labels, y, ref_labels = batches
    return loss(x, labels, ref_emb=y, ref_labels=ref_labels)


def joined(batches):
    x, labels, y, ref_labels = batches
    return torch.cat([x, y]), torch.cat([labels, ref_labels])


def test_contrastive(batches):
    positive, negative = pairs(*joined(batches))
    expected = mean_above_0(positive) + mean_above_0([3.0 - d for d in negative])
    assert float(on(pair_loss("contrastive", margin=3.0), batches)) == pytest.approx(expected, rel=1e-5)


def test_triplet_takes_the_semi_hard_ones(batches):
    x, labels = joined(batches)
    dist, margin, costs = torch.cdist(x, x), 1.0, []
    for a, p, n in itertools.permutations(range(len(x)), 3):
        gap = float(dist[a, n] - dist[a, p])
        if labels[a] == labels[p] and labels[a] != labels[n] and 0 < gap <= margin:
            costs.append(margin - gap)
    assert costs
    assert float(on(pair_loss("triplet", margin=margin), batches)) == pytest.approx(mean_above_0(costs), rel=1e-5)


def test_lifted_structure(batches):
    x, labels = joined(batches)
    dist, costs = torch.cdist(x, x), []
    for a in range(len(x)):
        positive = sum(math.exp(dist[a, p]) for p in range(len(x)) if p != a and labels[p] == labels[a])
        negative = sum(math.exp(2.0 - dist[a, n]) for n in range(len(x)) if labels[n] != labels[a])
        costs.append(max(0.0, math.log(positive) + math.log(negative)))
    expected = sum(costs) / len(costs)
    assert float(on(pair_loss("lifted_structure", margin=2.0), batches)) == pytest.approx(expected, rel=1e-5)


def test_n_pairs():
    x, labels = torch.randn(4, 3, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 0, 1, 1])
    logits = 7.0 * x @ x.T
    options = []  # the library draws which of a pair is the anchor
    for (a, p), (b, q) in itertools.product(([0, 1], [1, 0]), ([2, 3], [3, 2])):
        chosen = logits[[a, b]][:, [p, q]]
        options.append(float(torch.nn.functional.cross_entropy(chosen, torch.tensor([0, 1]))))
    found = float(pair_loss("n_pairs", scale=7.0)(x, labels))
    assert min(abs(found - option) for option in options) < 1e-4


def test_the_transport_and_its_control(batches):
    x, labels, y, ref_labels = batches
    square = torch.cdist(x, y) ** 2
    same = labels[:, None] == ref_labels
    matrix = torch.where(same, square, (4.0 - square).relu())
    assert float(on(pair_loss("uniform", margin=4.0), batches)) == pytest.approx(float(matrix.mean()), rel=1e-5)
    squared = on(pair_loss("uniform", margin=4.0, power=2), batches)
    assert float(squared) == pytest.approx(float((matrix**2).mean()), rel=1e-5)
    assert on(pair_loss("transport", margin=4.0), batches) > matrix.mean()  # hard pairs weigh more
    flat = on(pair_loss("transport", margin=4.0, reg=1e4), batches)
    assert float(flat) == pytest.approx(float(matrix.mean()), rel=1e-3)


@pytest.mark.parametrize("name", LOSSES)
def test_one_signature(name, batches):
    x, labels, y, ref_labels = batches
    loss = pair_loss(name)
    for second in ({}, {"ref_emb": y, "ref_labels": ref_labels}):
        x.requires_grad_().grad = None
        value = loss(x, labels, **second)
        value.backward()
        assert value.ndim == 0 and x.grad is not None and bool(x.grad.isfinite().all())
    with pytest.raises(ValueError, match="ref_emb and ref_labels go together"):
        loss(x, labels, ref_emb=y)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "n_pairs"])
def test_any_space(name, batches):
    hyperbolic = Hyperbolic(c=0.5)
    found, euclidean = (on(pair_loss(name, space=space, margin=4.0), batches) for space in (hyperbolic, None))
    assert bool(found.isfinite()) and not torch.isclose(found, euclidean)


@pytest.mark.parametrize("name", LOSSES)
def test_classes_of_one_image_cost_no_nan(name):
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    value = pair_loss(name)(x, torch.arange(4))
    value.backward()
    assert bool(value.isfinite())
    assert x.grad is None or bool(x.grad.isfinite().all())


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("tripplet", {}, "there is no loss 'tripplet'; expected one of transport,"),
        ("triplet", {"margn": 1}, "loss 'triplet' has no setting 'margn'; it has margin"),
        ("n_pairs", {"scale": 0}, "scale = 0; expected a number above 0"),
        ("transport", {"reg": -1.0}, "reg = -1.0"),
    ],
)
def test_a_mistake_is_told(name, settings, message):
    with pytest.raises(ValueError, match=message):
        pair_loss(name, **settings)


def test_inner_products_want_euclidean_space():
    with pytest.raises(ValueError, match="n_pairs compares by inner products"):
        pair_loss("n_pairs", space=Hyperbolic(c=0.5))
