"""A training batch compared with a share of the classes: its own, and random or nearest ones."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from geomdml.losses import CHESTLoss, MultiProxyAnchorLoss, SoftTripleLoss
from geomdml.losses.functional import in_mean_units, soft_triple
from geomdml.losses.proxies import Proxies
from geomdml.nn import HyperbolicHead
from geomdml.optim import RowAdam
from geomdml.spaces import Euclidean, Hyperbolic


def proxies(classes: int = 20, **options) -> Proxies:
    torch.manual_seed(0)
    return Proxies(classes, 4, centers_per_class=2, radius=1.0, **options)


@given(st.integers(1, 30), st.floats(0.01, 0.99), st.sampled_from(["random", "nearest"]), st.data())
def test_the_own_classes_are_there_and_the_share_is_kept(classes, share, others, data):
    labels = torch.tensor(data.draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=8)))
    table = proxies(classes, sample=share, others=others)
    vectors, places = table.pick(labels)
    assert torch.equal(vectors[places], table.vectors[labels])
    assert len(vectors) == max(len(labels.unique()), math.ceil(share * classes))
    assert len(vectors.flatten(1).unique(dim=0)) == len(vectors)  # each class once


def test_all_classes_come_up():
    table = proxies(sample=0.2)
    seen = torch.zeros(20)
    for _ in range(2000):
        rows = table.sampler.choose(table.vectors.detach(), torch.tensor([3]), 0, None)
        seen[rows] += 1
    share = seen / 2000
    assert share[3] == 1
    others = torch.cat([share[:3], share[4:]])  # 3 of the other 19 each time, within 6 standard deviations
    assert float((others - 3 / 19).abs().max()) < 6 * math.sqrt(3 / 19 * 16 / 19 / 2000)


def test_nearest_classes_are_those_of_the_nearest_means():
    table = proxies(sample=0.25, others="nearest")
    means = table.vectors.detach().mean(1)
    vectors, _ = table.pick(torch.tensor([7, 2]))
    distance = torch.cdist(means[[7, 2]], means).amin(0)
    assert torch.equal(vectors, table.vectors[distance.argsort()[:5].sort().values])


def test_the_index_is_made_again_after_a_hundred_batches_and_travels_in_a_checkpoint():
    table, labels = proxies(sample=0.25, others="nearest"), torch.tensor([7])
    before = table.pick(labels).labels
    for _ in range(49):
        table.pick(labels)
    with torch.no_grad():
        table.vectors.mul_(torch.rand(20, 1, 1))  # nearness changes, and the index does not know
    copy = proxies(sample=0.25, others="nearest")
    copy.load_state_dict(table.state_dict())
    for each in (table, copy):
        for _ in range(50):
            assert torch.equal(each.pick(labels).labels, before)
        means = each.vectors.detach().mean(1)
        nearest = torch.cdist(means[[7]], means)[0].argsort()[:5].sort().values
        assert torch.equal(each.pick(labels).vectors, each.vectors[nearest])


def test_the_formula_is_taken_over_the_chosen_classes():
    loss = SoftTripleLoss(20, 4, sample=0.3)
    x, labels = torch.randn(3, 4), torch.tensor([1, 5, 5])
    torch.manual_seed(2)
    value = loss(x, labels)
    torch.manual_seed(2)
    vectors, places = loss.proxies.pick(labels)
    dist = in_mean_units(Euclidean().pairwise_dist(x, vectors.flatten(0, 1)).view(3, 6, 2))
    assert_close(value, soft_triple(dist, places, gamma=0.2, scale=20.0, margin=0.1))


@pytest.mark.parametrize("others", ["random", "nearest"])
@pytest.mark.parametrize("make", [SoftTripleLoss, MultiProxyAnchorLoss])
def test_sampled_with_all_classes_equals_exact(make, others):
    exact, sampled = make(6, 4).double(), make(6, 4, sample=0.99, others=others).double()
    sampled.proxies.vectors.data.copy_(exact.proxies.vectors)
    x, labels = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 5, 5, 2, 1])
    for loss in (exact, sampled):
        loss(x, labels).backward()
    assert_close(sampled(x, labels), exact(x, labels), rtol=1e-14, atol=0)
    assert sampled.proxies.vectors.grad.is_sparse
    assert_close(sampled.proxies.vectors.grad.to_dense(), exact.proxies.vectors.grad, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("others", ["random", "nearest"])
def test_chest_sampled_with_all_classes_equals_exact(others):
    head = HyperbolicHead(4, 3, space=Hyperbolic(c=0.5)).double()
    exact, sampled = (CHESTLoss(6, 4, **options).double() for options in ({}, {"sample": 0.99, "others": others}))
    sampled.proxies.vectors.data.copy_(exact.proxies.vectors)
    x, labels = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 5, 5, 2, 1])
    values, gradients = [], []
    for loss in (exact, sampled):
        torch.manual_seed(1)
        if loss is exact and others == "random":
            torch.randint(2**62, ())  # as the choice of classes does, so that HypHC's triplets are the same
        values.append(loss(x, labels, head=head))
        gradients.append(torch.autograd.grad(values[-1], [loss.proxies.vectors, *head.parameters()]))
    assert_close(values[1], values[0], rtol=1e-14, atol=0)
    for found, expected in zip(gradients[1], gradients[0], strict=True):
        assert_close(found.to_dense() if found.is_sparse else found, expected, rtol=1e-12, atol=1e-14)


def test_evaluation_compares_with_all():
    loss = SoftTripleLoss(20, 4, sample=0.3)
    exact = SoftTripleLoss(20, 4)
    exact.load_state_dict(loss.state_dict())
    x, labels = torch.randn(3, 4), torch.tensor([1, 5, 5])
    assert torch.equal(loss.eval()(x, labels), exact(x, labels))
    assert loss.logits(x).shape == (3, 20)


def test_chest_compares_both_halves_with_the_same_classes_and_learns_c():
    space = Hyperbolic(c=0.7, learnable=True)
    head = HyperbolicHead(4, 3, space=space)
    loss = CHESTLoss(20, 4, sample=0.2)
    terms = loss.terms(torch.randn(6, 4), torch.tensor([1, 1, 5, 5, 8, 8]), head=head)
    terms.total.backward()
    assert all(float(term.detach()) > 0 for term in terms)
    assert len(loss.proxies.vectors.grad.coalesce().indices()[0]) == 4
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in [*head.parameters(), *space.parameters()])


def test_rows_that_are_not_chosen_stay_as_they_are_and_so_do_their_moments():
    loss = SoftTripleLoss(20, 4, sample=0.2)
    optimizer = RowAdam(loss.parameters(), lr=0.1, weight_decay=0.1)
    before = loss.proxies.vectors.detach().clone()
    loss(torch.randn(2, 4), torch.tensor([3, 9])).backward()
    optimizer.step()
    rows = set(loss.proxies.vectors.grad.coalesce().indices()[0].tolist())
    for table in (
        loss.proxies.vectors - before,
        *(optimizer.state[loss.proxies.vectors][n] for n in ("mean", "square")),
    ):
        changed = set(table.flatten(1).any(1).nonzero().flatten().tolist())
        assert changed == rows and {3, 9} < rows and len(rows) == 4


def test_row_adam_of_dense_gradients_is_adamw():
    mine, theirs = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    pair = RowAdam([mine], lr=0.1, weight_decay=0.2), torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.2)
    for step in range(3):
        for parameter, optimizer in zip((mine, theirs), pair, strict=True):
            parameter.grad = torch.tensor([1.0, -2.0, 0.5]) * (step - 1.5)
            optimizer.step()
    assert_close(mine, theirs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample": 0}, "sample = 0; expected a share of the classes, above 0 and up to 1"),
        ({"sample": 1.5}, "sample = 1.5"),
        ({"others": "best"}, "others = 'best'; expected one of 'random', 'nearest'"),
    ],
)
def test_what_is_no_share_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SoftTripleLoss(5, 4, **options)


def test_targets_are_refused_where_classes_are_chosen():
    with pytest.raises(ValueError, match=r"labels has shape \(2, 5\); expected \(B,\) class indices"):
        SoftTripleLoss(5, 4, sample=0.5)(torch.zeros(2, 4), torch.full((2, 5), 0.2))


def test_chest_without_proxies_has_no_classes_to_choose():
    halves = {"hyperbolic": torch.nn.Identity(), "euclidean": torch.nn.Identity()}
    with pytest.raises(ValueError, match=r"sample = 0\.5, .* there are no proxies to choose"):
        CHESTLoss(5, 4, tau=0, sample=0.5, **halves)
