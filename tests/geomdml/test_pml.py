"""The losses, miners and scores of pytorch-metric-learning in the spaces of this library.

A hyperbolic line is isometric to the Euclidean one: tangent vectors of one entry have d(u, v) = 2|u − v|, for any c.
There every loss and miner must do with our distance what it does with that library's own.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses, miners
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN, MatchFinder
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

from geomdml.metrics import retrieval
from geomdml.pml import SpaceDistance
from geomdml.spaces import Euclidean, Hyperbolic

LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 1])
SAME = (LABELS[:, None] == LABELS) & ~torch.eye(9, dtype=torch.bool)
OTHER = LABELS[:, None] != LABELS
PLAIN = LpDistance(normalize_embeddings=False)

LOSSES: dict[str, Callable[..., nn.Module]] = {
    "contrastive": partial(losses.ContrastiveLoss, pos_margin=0.5, neg_margin=2.5),
    "triplet margin": partial(losses.TripletMarginLoss, margin=0.8),
    "triplet margin, smooth": partial(losses.TripletMarginLoss, margin=0.8, smooth_loss=True),
    "margin": partial(losses.MarginLoss, margin=0.4, beta=1.75),
    "multi-similarity": partial(losses.MultiSimilarityLoss, alpha=2, beta=10, base=1.5),
    "NT-Xent": partial(losses.NTXentLoss, temperature=0.7),
    "supervised contrastive": partial(losses.SupConLoss, temperature=0.7),
    "lifted structure": partial(losses.LiftedStructureLoss, neg_margin=2.0),
    "generalized lifted structure": partial(losses.GeneralizedLiftedStructureLoss, neg_margin=2.0),
    "NCA": losses.NCALoss,
    "N-pairs": losses.NPairsLoss,
    "ranked list": partial(losses.RankedListLoss, margin=0.6, Tn=1.0, alpha=2.5),
    "intra-pair variance": losses.IntraPairVarianceLoss,
    "proxy anchor": partial(losses.ProxyAnchorLoss, num_classes=3, embedding_size=1, margin=0.3, alpha=4),
    "proxy NCA": partial(losses.ProxyNCALoss, num_classes=3, embedding_size=1),
}
MINERS = {
    "triplet margin": partial(miners.TripletMarginMiner, margin=0.5),
    "semi-hard": partial(miners.TripletMarginMiner, margin=0.5, type_of_triplets="semihard"),
    "multi-similarity": partial(miners.MultiSimilarityMiner, epsilon=0.3),
    "batch hard": miners.BatchHardMiner,
    "batch easy hard": miners.BatchEasyHardMiner,
    "pair margin": partial(miners.PairMarginMiner, pos_margin=0.8, neg_margin=2.0),
    "hardest share": miners.HDCMiner,
}
WITH_REFERENCE = [name for name in LOSSES if not name.startswith(("proxy", "N-pairs", "ranked"))]
EACH_LOSS = pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES.keys())
EACH_MINER = pytest.mark.parametrize("make", MINERS.values(), ids=MINERS.keys())
CHART = pytest.mark.parametrize("chart", ["tangent", "ball"])
SPACE = pytest.mark.parametrize("space", [Euclidean(), Hyperbolic(), Hyperbolic(chart="ball")], ids=repr)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def tangents(count: int, dim: int = 4, dtype: torch.dtype = torch.float64) -> Tensor:
    return 0.6 * torch.randn(count, dim, dtype=dtype)


def in_chart(space, u: Tensor) -> Tensor:
    """The points with these tangent vectors, as the space stores them."""
    return Hyperbolic(space.curvature).to(space.chart, u) if isinstance(space, Hyperbolic) else u


def built(make: Callable[..., nn.Module], distance: nn.Module, proxies: Tensor) -> nn.Module:
    loss = make(distance=distance)
    if hasattr(loss, "proxies"):
        loss.proxies.data = proxies.clone()
    return loss


def value_and_gradient(loss: nn.Module, embeddings: Tensor, **reference: Tensor) -> tuple[Tensor, Tensor]:
    np.random.seed(0)  # the N-pairs loss draws its pairs
    leaf = embeddings.detach().clone().requires_grad_()
    value = loss(leaf, LABELS, **reference)
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


def assert_same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    assert found[0] > 0 and found[1].any()


@EACH_LOSS
@pytest.mark.parametrize("power", [1, 2])
def test_a_euclidean_loss_is_that_of_the_library(make, power):
    x, proxies = tangents(9), tangents(3)
    ours = built(make, SpaceDistance(Euclidean(), power=power), proxies)
    theirs = built(make, LpDistance(normalize_embeddings=False, power=power), proxies)
    assert_same(value_and_gradient(ours, x), value_and_gradient(theirs, x))


@EACH_LOSS
@pytest.mark.parametrize("c", [0.1, 0.5, 3.0])
def test_a_loss_on_the_hyperbolic_line_is_euclidean(make, c):
    u, proxies = tangents(9, dim=1), tangents(3, dim=1)
    ours, theirs = built(make, SpaceDistance(Hyperbolic(c)), proxies), built(make, PLAIN, 2 * proxies)
    value, gradient = value_and_gradient(theirs, 2 * u)
    assert_same(value_and_gradient(ours, u), (value, 2 * gradient))


@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_a_loss_against_a_reference_set_on_the_hyperbolic_line_is_euclidean(name):
    u, v, labels = tangents(9, dim=1), tangents(5, dim=1), torch.tensor([0, 1, 2, 0, 1])
    ours, theirs = LOSSES[name](distance=SpaceDistance(Hyperbolic())), LOSSES[name](distance=PLAIN)
    value, gradient = value_and_gradient(theirs, 2 * u, ref_emb=2 * v, ref_labels=labels)
    assert_same(value_and_gradient(ours, u, ref_emb=v, ref_labels=labels), (value, 2 * gradient))


@EACH_LOSS
def test_a_loss_is_the_same_in_either_chart(make):
    u, proxies = tangents(9), tangents(3)
    ball = Hyperbolic(chart="ball")
    expected, _ = value_and_gradient(built(make, SpaceDistance(Hyperbolic()), proxies), u)
    found, _ = value_and_gradient(built(make, SpaceDistance(ball), in_chart(ball, proxies)), in_chart(ball, u))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def mean_nonzero(x: Tensor) -> Tensor:
    return x.sum() / (x > 0).sum()


def contrastive(d: Tensor) -> Tensor:
    return mean_nonzero(relu(d[SAME] - 0.5)) + mean_nonzero(relu(2.5 - d[OTHER]))


def triplet_margin(d: Tensor) -> Tensor:
    violation = relu(d[:, :, None] - d[:, None, :] + 0.8)
    return mean_nonzero(violation[SAME[:, :, None] & OTHER[:, None, :]])


def margin(d: Tensor) -> Tensor:
    triplets = SAME[:, :, None] & OTHER[:, None, :]
    positive, negative = relu(d - 1.75 + 0.4)[:, :, None], relu(1.75 - d + 0.4)[:, None, :]
    sums = [torch.where(triplets, part, 0.0) for part in (positive, negative)]
    return sum(part.sum() for part in sums) / sum((part > 0).sum() for part in sums)


def supervised_contrastive(d: Tensor) -> Tensor:
    log_share = (-d / 0.7).masked_fill(torch.eye(9, dtype=torch.bool), -torch.inf).log_softmax(1)
    return -(torch.where(SAME, log_share, 0.0).sum(1) / SAME.sum(1)).mean()


@CHART
@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("contrastive", contrastive),
        ("triplet margin", triplet_margin),
        ("margin", margin),
        ("supervised contrastive", supervised_contrastive),
    ],
)
def test_a_hyperbolic_loss_is_its_formula(chart, name, formula):
    space = Hyperbolic(c=0.7, chart=chart)
    x = in_chart(space, tangents(9)).requires_grad_()
    expected = formula(space.pairwise_dist(x, x))
    assert_same(
        value_and_gradient(LOSSES[name](distance=SpaceDistance(space)), x.detach()),
        (expected.detach(), torch.autograd.grad(expected, x)[0]),
    )


@CHART
def test_n_pairs_is_the_cross_entropy_of_the_distances(chart):
    space = Hyperbolic(chart=chart)
    x, (i, j, k) = in_chart(space, tangents(9)), torch.tensor([[0, 3, 5], [1, 4, 6], [3, 5, 0]])
    found = losses.NPairsLoss(distance=SpaceDistance(space))(x, LABELS, (i, j, i, k))
    torch.testing.assert_close(found, cross_entropy(-space.pairwise_dist(x[i], x[j]), torch.arange(3)))


@EACH_LOSS
@CHART
def test_gradients_are_finite_at_duplicates_and_the_origin(make, chart):
    space = Hyperbolic(chart=chart, learnable=True)
    u = tangents(9, dtype=torch.float32)
    u[1], u[3], u[4], u[8] = u[0], u[0], 0.0, 0.0  # of one class and of two
    loss = built(make, SpaceDistance(space, power=2), in_chart(space, tangents(3, dtype=torch.float32)))
    value, gradient = value_and_gradient(loss, in_chart(space, u))
    assert value.isfinite() and gradient.isfinite().all() and gradient.any()
    assert space.log_c.grad is not None and space.log_c.grad.isfinite()


@EACH_LOSS
def test_autocast_changes_no_loss(make):
    features, head, proxies = torch.randn(9, 6), nn.Linear(6, 4), tangents(3, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = head(features)
        assert embeddings.dtype == torch.bfloat16
        np.random.seed(0)
        value = built(make, SpaceDistance(Hyperbolic()), proxies)(embeddings.float(), LABELS)
    value.backward()
    assert head.weight.grad.isfinite().all() and head.weight.grad.any()
    expected, _ = value_and_gradient(built(make, SpaceDistance(Hyperbolic()), proxies), embeddings.float())
    assert torch.equal(value.detach(), expected)


@SPACE
def test_half_precision_has_the_distances_of_the_rounded_embeddings(space):
    x = in_chart(space, tangents(9)).bfloat16()
    assert torch.equal(SpaceDistance(space)(x), space.pairwise_dist(x.float(), x.float()))


@EACH_MINER
@pytest.mark.parametrize(("space", "dim", "scale"), [(Euclidean(), 4, 1), (Hyperbolic(), 1, 2)], ids=["plane", "line"])
def test_miners_find_what_they_find_with_the_distance_of_the_library(make, space, dim, scale):
    u = tangents(9, dim)
    found, expected = make(distance=SpaceDistance(space))(u, LABELS), make(distance=PLAIN)(scale * u, LABELS)
    assert len(found[0])
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


@CHART
def test_the_hardest_of_a_batch_are_the_farthest_positive_and_the_nearest_negative(chart):
    space = Hyperbolic(c=2.0, chart=chart)
    x = in_chart(space, tangents(9))
    anchors, positives, negatives = miners.BatchHardMiner(distance=SpaceDistance(space))(x, LABELS)
    d = space.pairwise_dist(x, x)
    assert torch.equal(anchors, torch.arange(9))
    assert torch.equal(positives, d.where(SAME, -torch.inf).argmax(1))
    assert torch.equal(negatives, d.where(OTHER, torch.inf).argmin(1))


def test_a_memory_of_past_batches():
    """The memory holds detached copies of this batch: the loss is that of the batch against itself."""
    u, make = tangents(9), LOSSES["contrastive"]
    memory = losses.CrossBatchMemory(make(distance=SpaceDistance(Hyperbolic())), embedding_size=4, memory_size=9)
    value, _ = value_and_gradient(make(distance=SpaceDistance(Hyperbolic())), u)
    found, gradient = value_and_gradient(memory, u)
    torch.testing.assert_close(found, value)
    assert gradient.isfinite().all()


def test_a_learned_curvature_is_a_parameter_of_the_loss():
    space = Hyperbolic(c=0.5, learnable=True)
    distance = SpaceDistance(space)
    loss = losses.ContrastiveLoss(distance=distance, neg_margin=3.0)
    assert [id(p) for p in loss.parameters()] == [id(space.log_c)]
    assert list(loss.state_dict()) == ["distance.space.log_c"]
    value_and_gradient(loss, tangents(9, dtype=torch.float32))
    assert space.log_c.grad


@SPACE
@pytest.mark.parametrize("batch_size", [None, 4])
def test_accuracy_is_that_of_retrieval(space, batch_size):
    labels = torch.arange(40) % 7
    x = in_chart(space, tangents(40, dtype=torch.float32) + 0.2 * labels.unsqueeze(1))
    calculator = AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r", "mean_average_precision"),
        knn_func=CustomKNN(SpaceDistance(space), batch_size=batch_size),
        device=torch.device("cpu"),
    )
    ours = retrieval(x, labels, space=space, ks=(1,), scores=("recall", "r_precision", "map_at_r", "mean_ap"))
    theirs = calculator.get_accuracy(x, labels)
    assert theirs == pytest.approx(
        {
            "precision_at_1": ours.recall[1],
            "r_precision": ours.r_precision,
            "mean_average_precision_at_r": ours.map_at_r,
            "mean_average_precision": ours.mean_ap,
        }
    )


@SPACE
def test_one_to_one_and_to_a_power(space):
    x, y = in_chart(space, tangents(5)), in_chart(space, tangents(5))
    distance, expected = SpaceDistance(space, power=3), space.dist(x, y)
    torch.testing.assert_close(distance(x, y).diagonal(), expected**3)
    torch.testing.assert_close(distance.pairwise_distance(x, y), expected)
    assert MatchFinder(SpaceDistance(space)).is_match(x, y, expected.median()).sum() == 3


def test_norms_are_recorded_when_asked_for():
    distance, x = SpaceDistance(Hyperbolic(), collect_stats=True), tangents(9)
    distance(x)
    assert distance.initial_avg_query_norm == distance.final_avg_ref_norm == pytest.approx(float(x.norm(dim=1).mean()))


def test_refusals():
    with pytest.raises(TypeError, match="space is a str"):
        SpaceDistance("hyperbolic")
    with pytest.raises(ValueError, match=r"power = 0\.5; expected a number ≥ 1"):
        SpaceDistance(Hyperbolic(), power=0.5)
    with pytest.raises(TypeError, match="normalize_embeddings"):
        SpaceDistance(Hyperbolic(), normalize_embeddings=True)
    with pytest.raises(ValueError, match="x has 9 points outside the ball"):
        losses.ContrastiveLoss(distance=SpaceDistance(Hyperbolic(chart="ball")))(9 + tangents(9), LABELS)
