"""Where definitions agree, so do the numbers: pytorch-metric-learning, torchmetrics, OML (docs/guides/which-map.md)."""

import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN, FaissKNN
from torchmetrics.retrieval import RetrievalHitRate, RetrievalMAP, RetrievalRPrecision

from geomdml.metrics import retrieval
from geomdml.pml import SpaceDistance
from geomdml.spaces import Euclidean, Hyperbolic, Space

KS = (1, 2, 5, 20)
ALL = ("recall", "r_precision", "map_at_r", "mean_ap")


@pytest.fixture
def items() -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(4)
    embeddings, labels = torch.randn(150, 16, generator=draw) / 4, torch.randint(40, (150,), generator=draw)
    return embeddings[:60], labels[:60], embeddings[60:], labels[60:]


@pytest.mark.parametrize("leave_one_out", [True, False])
@pytest.mark.parametrize("space", [None, Euclidean(), Hyperbolic(0.5)], ids=["faiss", "E", "H"])
def test_pytorch_metric_learning(items, leave_one_out: bool, space: Space | None):
    names = ("precision_at_1", "r_precision", "mean_average_precision_at_r", "mean_average_precision")
    knn = CustomKNN(SpaceDistance(space)) if space else FaissKNN()
    calculator = AccuracyCalculator(include=names, device=torch.device("cpu"), knn_func=knn)
    items = items[:2] if leave_one_out else items
    theirs = calculator.get_accuracy(*items)
    found = retrieval(*items, space=space, ks=(1,), scores=ALL)
    ours = [found.recall[1], found.r_precision, found.map_at_r, found.mean_ap]
    assert ours == pytest.approx([theirs[name] for name in names], rel=0, abs=1e-12)


def test_pytorch_metric_learning_makes_large_labels_one_class():
    x, labels = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([2**24, 2**24 + 1, 2**24, 2**24 + 1])
    distance = CustomKNN(LpDistance(normalize_embeddings=False))
    theirs = AccuracyCalculator(include=("precision_at_1",), device=torch.device("cpu"), knn_func=distance)
    assert theirs.get_accuracy(x, labels)["precision_at_1"] == 1.0
    assert retrieval(x, labels, ks=(1,)).recall[1] == 0.0


@pytest.mark.parametrize("space", [Euclidean(), Hyperbolic(0.5)], ids=repr)
def test_torchmetrics(items, space: Space):
    query, labels, gallery, gallery_labels = items
    distances = space.pairwise_dist(query.double(), gallery.double())
    similarity, relevant = (1 / (1 + distances)).flatten(), (labels[:, None] == gallery_labels).flatten()
    indexes = torch.arange(60).repeat_interleave(90)

    def theirs(metric) -> float:
        return float(metric(similarity, relevant, indexes=indexes))

    found = retrieval(*items, space=space, ks=KS, scores=ALL)
    skip = {"empty_target_action": "skip"}
    assert found.recall == pytest.approx({k: theirs(RetrievalHitRate(top_k=k, **skip)) for k in KS}, abs=1e-6)
    assert found.r_precision == pytest.approx(theirs(RetrievalRPrecision(**skip)), abs=1e-6)
    assert found.mean_ap == pytest.approx(theirs(RetrievalMAP(**skip)), abs=1e-6)
    assert found.mean_ap < theirs(RetrievalMAP(top_k=10, **skip)) - 0.01  # divided by what was found


def test_oml(items):
    metrics = pytest.importorskip("oml.functional.metrics", reason="OML is no development requirement")
    query, labels, gallery, gallery_labels = items
    order = torch.cdist(query, gallery).argsort(1)
    truth = [(gallery_labels == label).nonzero()[:, 0] for label in labels]
    some = [i for i, relevant in enumerate(truth) if len(relevant)]
    theirs = metrics.calc_retrieval_metrics(
        [order[i] for i in some], [truth[i] for i in some], cmc_top_k=KS, map_top_k=(90,), precision_top_k=()
    )
    found = retrieval(*items, ks=KS, scores=ALL)
    assert found.recall == pytest.approx({k: float(theirs["cmc"][k]) for k in KS}, abs=1e-6)
    assert found.mean_ap == pytest.approx(float(theirs["map"][90]), abs=1e-6)
