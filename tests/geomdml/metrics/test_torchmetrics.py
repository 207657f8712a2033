"""The metrics of torchmetrics are the functions: of many batches as of one, of two processes as of one."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics import MetricCollection

from geomdml import metrics
from geomdml.metrics import RetrievalMetric, ShrecMetric, retrieval, shrec
from geomdml.spaces import Hyperbolic
from tests.geomdml.two_processes import run_two

ALL = ("recall", "r_precision", "map_at_r", "mean_ap")


def data(size: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(size, 4, generator=draw), torch.randint(size // 3 + 1, (size,), generator=draw)


def named(found) -> dict[str, float]:
    if isinstance(found, metrics.ShrecScores):
        curve = {f"precision@{level:.2f}": value for level, value in zip(found.recall, found.precision, strict=True)}
        return {k: v for k, v in found._asdict().items() if k not in ("precision", "recall")} | curve
    recall = {f"recall@{k}": value for k, value in found.recall.items()}
    return {k: v for k, v in found._asdict().items() if k != "recall" and v is not None} | recall


@given(st.lists(st.integers(0, 20), min_size=1, max_size=5), st.booleans(), st.integers(0, 99))
def test_batches_with_repeats_in_any_order_are_one_list(sizes, separate: bool, seed: int):
    size = max(12, sum(sizes))
    x, labels = data(size, seed)
    labels[:2] = labels[-1] = 0
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    batches = [*order.split(5), order[:3], order[-2:]]
    retrieve, shape = RetrievalMetric(Hyperbolic(0.5), scores=ALL, ties="index"), ShrecMetric(Hyperbolic(0.5))
    for metric in (retrieve, shape):
        for batch in batches:
            metric.update(x[batch], labels[batch], batch)
            if separate:
                metric.update(x[batch] / 2, labels[batch], batch, gallery=True)
    items = (x, labels, x / 2, labels) if separate else (x, labels)
    assert retrieve.compute() == named(retrieval(*items, space=Hyperbolic(0.5), scores=ALL, ties="index"))
    assert shape.compute() == named(shrec(*items, space=Hyperbolic(0.5)))
    by_query = retrieve.by_query()
    assert named(by_query.mean()) == retrieve.compute()


def test_without_indices_every_sample_counts():
    x, labels = data(20)
    metric = RetrievalMetric()
    metric.update(x, labels)
    metric.update(x, labels)
    assert metric.compute() == named(retrieval(x.repeat(2, 1), labels.repeat(2)))
    metric.reset()
    with pytest.warns(UserWarning, match="was called before"), pytest.raises(ValueError, match="has no embeddings"):
        metric.compute()


def test_a_batch_is_kept_when_its_tensors_are_written_over():
    x, labels = data(20)
    buffers = x.clone(), labels.clone(), torch.arange(20)
    metric = RetrievalMetric()
    metric.update(*buffers)
    for buffer in buffers:
        buffer.zero_()
    assert metric.compute() == named(retrieval(x, labels))


def test_another_dtype_is_that_of_the_embeddings_alone():
    x, labels = data(20)
    metric = RetrievalMetric()
    metric.update(x, labels + 2**24)  # float32 would merge these
    assert metric.set_dtype(torch.float64).compute() == named(retrieval(x.double(), labels))
    assert metric.embeddings[0].dtype == torch.float64


def test_merged_metrics_are_one_and_of_one_dimension():
    x, labels = data(20)
    metric, other, wrong = RetrievalMetric(), RetrievalMetric(), RetrievalMetric()
    metric.update(x[:7], labels[:7])
    metric.update(x[:0], labels[:0])
    other.update(x[7:], labels[7:])
    assert metric.compute()["queries"] < 20
    metric.merge_state(other)
    assert metric.compute() == named(retrieval(x, labels))
    wrong.update(x[:, :3], labels)
    metric.merge_state(wrong)
    with pytest.raises(ValueError, match=r"last dimensions differ: embeddings .*, merged_embeddings"):
        metric.compute()


def test_only_what_is_asked_for():
    x, labels = data(20)
    metric = MetricCollection([RetrievalMetric(scores=("map_at_r",)), ShrecMetric(scores=("nn", "e"))])
    metric.update(x, labels, torch.arange(20))
    names = {
        "RetrievalMetric_map_at_r",
        "RetrievalMetric_queries",
        "ShrecMetric_nn",
        "ShrecMetric_e",
        "ShrecMetric_queries",
    }
    assert set(metric.compute()) == names  # of two metrics with a key in common torchmetrics prefixes all
    assert shrec(x, labels, scores=("nn", "e")) == shrec(x, labels)._replace(
        ft=None, st=None, dcg=None, mean_ap=None, precision=None
    )


def test_forward_gives_the_scores_of_the_batch_and_keeps_it():
    x, labels = torch.tensor([[0.0], [1.0], [5.0], [6.0]]), torch.tensor([0, 0, 1, 1])
    metric = RetrievalMetric(ks=(1,))
    assert metric(x[:2], labels[:2])["recall@1"] == 1
    assert metric(x[2:], labels[2:])["queries"] == 2
    assert metric.compute()["queries"] == 4


@pytest.mark.parametrize("kind", [RetrievalMetric, ShrecMetric])
def test_a_batch_without_scores_of_its_own_is_refused_and_kept(kind):
    """The last batch of an epoch may have no two items of a class: what is collected must not be lost with it."""
    x, labels = torch.arange(12.0)[:, None], torch.tensor([0, 0, 1, 1, 2, 2, 7, 8, 9, 7, 8, 9])
    metric = kind()
    metric.update(x[:6], labels[:6])
    with pytest.raises(ValueError, match="no query has a relevant item"):
        metric(x[6:9], labels[6:9])
    metric.update(x[9:], labels[9:])
    expected = kind()
    expected.update(x, labels)
    assert metric.compute() == expected.compute()
    assert metric.compute()["queries"] == 12
    assert metric(x[:2], labels[:2])["queries"] == 2
    assert metric.compute()["queries"] == 14


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((torch.zeros(3, 1), torch.zeros(3)), "labels has dtype"),
        ((torch.zeros(3, 1), torch.zeros(2).long()), "labels has shape"),
        ((torch.zeros(3, 1), torch.zeros(3).long(), torch.tensor([0, -1, 2])), "indices go down to -1"),
        ((torch.zeros(3, 2), torch.zeros(3).long()), "last dimensions differ"),
    ],
)
@pytest.mark.parametrize("call", ["forward", "update"])
def test_a_batch_that_is_refused_leaves_the_state_as_it_was(call: str, batch: tuple, message: str):
    x, labels = data(20)
    metric = RetrievalMetric()
    metric.update(x[:, :1], labels)
    before = metric.compute()
    with pytest.raises((ValueError, TypeError), match=message):
        getattr(metric, call)(*batch)
    metric._computed = None
    assert metric.compute() == before


def test_a_batch_of_the_gallery_is_kept_by_forward_too():
    x, labels = data(20)
    metric = RetrievalMetric()
    with pytest.raises(ValueError, match="has no embeddings"):
        metric(x, labels, gallery=True)
    metric.update(x[:5], labels[:5])
    assert metric.compute() == named(retrieval(x[:5], labels[:5], x, labels))


def test_a_batch_of_embeddings_that_cannot_be_ranked_is_kept():
    metric = RetrievalMetric()
    with pytest.raises(ValueError, match="NaN"):
        metric(torch.tensor([[torch.nan], [0.0]]), torch.tensor([0, 0]))
    assert len(metric.embeddings) == 1
    with pytest.raises(ValueError, match="NaN"):
        metric.compute()
    with pytest.raises(ValueError, match="NaN"):
        metric.by_query()


@pytest.mark.parametrize(
    ("error", "message", "batch"),
    [
        (ValueError, r"labels has shape \(3,\); expected \(2,\)", (torch.zeros(2, 1), torch.zeros(3).long())),
        (TypeError, "labels has dtype torch.float32", (torch.zeros(2, 1), torch.zeros(2))),
        (ValueError, "indices go down to -3", (torch.zeros(1, 1), torch.tensor([0]), torch.tensor([-3]))),
        (TypeError, "indices is a list", (torch.zeros(1, 1), torch.tensor([0]), [0])),
        (ValueError, r"embeddings has shape \(3,\)", (torch.zeros(3), torch.zeros(3).long())),
    ],
)
def test_a_mistake_is_named(error, message: str, batch: tuple):
    with pytest.raises(error, match=message):
        RetrievalMetric().update(*batch)


def test_they_are_imported_when_asked_for():
    program = (
        "import sys, geomdml; assert not {'torchmetrics', 'faiss'} & set(sys.modules); geomdml.metrics.ShrecMetric; "
        "assert 'torchmetrics' in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = metrics.Nothing


PROCESS = """
    import datetime, sys
    import torch
    from torch import distributed
    from geomdml.metrics import RetrievalMetric, ShrecMetric
    from geomdml.spaces import Hyperbolic

    rank, folder = int(sys.argv[1]), sys.argv[2]
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2, timeout=datetime.timedelta(seconds=300)
    )
    found = []
    for query, gallery in torch.load(f"{folder}/problems.pt", weights_only=True):
        for metric in (RetrievalMetric(Hyperbolic(0.5), ties="index"), ShrecMetric(Hyperbolic(0.5))):
            for batches, separate in ((query, False), (gallery, True)):
                for batch in batches[rank]:
                    metric.update(*batch, gallery=separate)
            found.append(metric.compute())
            if isinstance(metric, RetrievalMetric):
                found.append({"r": metric.by_query().r_precision.sum()})
            found.append({"kept": torch.tensor(float(sum(map(len, metric.embeddings))))})
    metric = RetrievalMetric()
    metric.update(torch.zeros(1, 1), torch.tensor([rank]))
    for call in (metric.compute, metric.by_query):
        try:
            call()
        except ValueError as error:
            assert "no query has a relevant item" in str(error)
        assert isinstance(metric.embeddings, list) and len(metric.embeddings) == 1  # its own again
    metric.update(torch.ones(1, 1), torch.tensor([rank]))
    assert metric(torch.ones(2, 1), torch.zeros(2).long())["queries"] == 2  # of this process alone
    assert metric.compute()["queries"] == 8
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()
"""


def test_two_processes_are_one(tmp_path):
    """Uneven shares with samples in both, one process with none, and a gallery that only one of them holds."""
    x, labels = data(31)
    y, gallery_labels = data(25, 1)
    split = [torch.arange(0, 20), torch.arange(14, 31)]

    def batches(x, labels, rows):
        return [[(x[some], labels[some], some) for some in part.split(6)] if len(part) else [] for part in rows]

    nothing = torch.arange(0)
    problems = [
        (batches(x, labels, split), [[], []]),
        (batches(x, labels, [torch.arange(31), nothing]), [[], []]),
        (batches(x.double(), labels, split), batches(y.double(), gallery_labels, [nothing, torch.arange(25)])),
    ]
    torch.save(problems, tmp_path / "problems.pt")
    first, second = run_two(PROCESS, tmp_path)
    space, expected = Hyperbolic(0.5), []
    for items in ((x, labels), (x, labels), (x.double(), labels, y.double(), gallery_labels)):
        expected += [named(retrieval(*items, space=space, ties="index")), named(shrec(*items, space=space))]
    for found in (first, second):
        assert [scores for scores in found if "queries" in scores] == expected
    assert [float(found["kept"]) for found in first if "kept" in found] == [20, 20, 31, 31, 20, 20]  # its own again
    assert [found["r"] for found in first if "r" in found] == [found["r"] for found in second if "r" in found]
