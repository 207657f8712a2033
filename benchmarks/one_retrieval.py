"""Cost of one way to score a retrieval, `python -m benchmarks.one_retrieval JSON`; for `benchmarks.retrieval`."""

import json
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.measuring import forget_peak, peak, yield_memory_first
from geomdml.metrics import retrieval
from geomdml.spaces import Euclidean, Hyperbolic, Space

KS = (1, 10, 100, 1000)
Scores = dict[str, float]
BASE = "matrix product alone, tile by tile"
OURS, HYPERBOLIC = "geomdml, Euclidean", "geomdml, hyperbolic"
THEIRS, THEIR_LONG = "pytorch-metric-learning, R@1 and MAP@R", "pytorch-metric-learning, lists of 1000 (no Recall@k)"
LISTS = "torchmetrics, R@1 and R-precision (no MAP@R)"
NAIVE = "whole matrix, sorted"


def items(count: int, dim: int, classes: int) -> tuple[Tensor, Tensor]:
    """Noisy classes on a sphere of radius 2.3, where a clipped head puts its points."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (count,), generator=draw)
    centres = torch.randn(classes, dim, generator=draw)
    x = torch.empty(count, dim)
    for rows in torch.arange(count).split(4096):
        noise = torch.randn(len(rows), dim, generator=draw)
        x[rows] = 2.3 * torch.nn.functional.normalize(0.45 * centres[labels[rows]] + noise)
    return x, labels


def ours(x: Tensor, labels: Tensor, space: Space, ks: tuple[int, ...] = KS) -> Scores:
    found = retrieval(x, labels, space=space, ks=ks, scores=("recall", "map_at_r"))
    assert found.recall and found.map_at_r is not None
    return {f"R@{k}": value for k, value in found.recall.items()} | {"MAP@R": found.map_at_r}


def product(x: Tensor, labels: Tensor) -> Scores:
    out = torch.empty(1024, 2048)
    for rows in x.split(1024):
        for columns in x.split(2048):
            torch.mm(rows, columns.T, out=out.view(-1)[: len(rows) * len(columns)].view(len(rows), -1))
    return {}


def theirs(x: Tensor, labels: Tensor, k: int | str) -> Scores:
    import faiss
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    faiss.omp_set_num_threads(torch.get_num_threads())
    names = {"precision_at_1": "R@1", "mean_average_precision_at_r": "MAP@R"}
    calculator = AccuracyCalculator(include=tuple(names), k=k, device=torch.device("cpu"))
    found = calculator.get_accuracy(x, labels)
    return {names[name]: value for name, value in found.items()}


def naive(x: Tensor, labels: Tensor) -> Scores:
    """All distances at once, ranked; labels of the whole list."""
    distances = torch.cdist(x, x).fill_diagonal_(torch.inf)
    hit = (labels[distances.argsort(1)[:, :-1]] == labels[:, None]).float()
    R = hit.sum(1)
    some = R > 0
    hit, R = hit[some], R[some]
    rank = torch.arange(1, hit.shape[1] + 1)
    precision = hit.cumsum(1) / rank * hit * (rank <= R[:, None])
    recall = {f"R@{k}": float((hit[:, :k].sum(1) > 0).double().mean()) for k in KS}
    return recall | {"MAP@R": float((precision.sum(1) / R).double().mean())}


def listed(x: Tensor, labels: Tensor) -> Scores:
    """All distances, each with its query's number, as torchmetrics wants them."""
    from torchmetrics.retrieval import RetrievalHitRate, RetrievalRPrecision

    others = ~torch.eye(len(x), dtype=torch.bool)
    queries = torch.arange(len(x))[:, None].expand(others.shape)[others]
    nearness, hit = -torch.cdist(x, x)[others], (labels == labels[:, None])[others]
    metrics = {"R@1": RetrievalHitRate("skip", top_k=1), "R-precision": RetrievalRPrecision("skip")}
    return {name: float(metric(nearness, hit, indexes=queries)) for name, metric in metrics.items()}


WAYS: dict[str, Callable[[Tensor, Tensor], Scores]] = {
    BASE: product,
    OURS: lambda x, labels: ours(x, labels, Euclidean()),
    OURS + ", R@1 and MAP@R": lambda x, labels: ours(x, labels, Euclidean(), (1,)),
    HYPERBOLIC: lambda x, labels: ours(x, labels, Hyperbolic(c=0.5)),
    HYPERBOLIC + ", R@1 and MAP@R": lambda x, labels: ours(x, labels, Hyperbolic(c=0.5), (1,)),
    THEIRS: lambda x, labels: theirs(x, labels, "max_bin_count"),
    THEIR_LONG: lambda x, labels: theirs(x, labels, 1000),
    LISTS: listed,
    NAIVE: naive,
}


def cost(name: str, count: int, dim: int, classes: int, threads: int) -> dict[str, object]:
    """Seconds on the clock and of processor time, the bytes added at the peak, and the scores."""
    torch.set_num_threads(threads)
    WAYS[name](*items(1100, dim, 300))  # loads code and starts threads
    x, labels = items(count, dim, classes)
    before, start, processor = forget_peak("cpu"), time.perf_counter(), time.process_time()
    scores = WAYS[name](x, labels)
    return {
        "seconds": time.perf_counter() - start,
        "processor": time.process_time() - processor,
        "bytes": peak("cpu") - before,
        "scores": scores,
    }


if __name__ == "__main__":
    yield_memory_first()
    print(json.dumps(cost(**json.loads(sys.argv[1]))))
