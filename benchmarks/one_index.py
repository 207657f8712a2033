"""One way to find neighbours on one set of points, `python -m benchmarks.one_index JSON`; for `benchmarks.index`."""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from benchmarks.measuring import forget_peak, peak, yield_memory_first
from geomdml.sampling import tree_like
from geomdml.search import HyperbolicIndex, knn
from geomdml.search.__main__ import read, read_space
from geomdml.spaces import Chart, Hyperbolic

COUNTS = (1, 10, 100)  # of the nearest that are asked for
EXACT = ("knn", "flat", "faiss flat, lifted")  # which are asked fewer queries
Search = Callable[[Tensor, int, int], Tensor]  # queries, k and effort to rows of candidates, −1 where there are none


def clusters(count: int, dim: int, intrinsic: int, c: float, seed: int, farthest: float = 4.0) -> Tensor:
    """1,000 clusters in a subspace of `intrinsic` dimensions; A = 2√c‖u‖ even up to `farthest`."""
    draw, same = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(0)
    centres = torch.randn(1000, intrinsic, generator=same)
    basis = torch.linalg.qr(torch.randn(dim, intrinsic, generator=same)).Q.T
    made = torch.empty(count, dim)
    for rows in torch.arange(count).split(65536):
        near = centres[torch.randint(1000, (len(rows),), generator=draw)]
        direction = torch.nn.functional.normalize(near + torch.randn(near.shape, generator=draw)) @ basis
        made[rows] = farthest / (2 * c**0.5) * 0.9999 * torch.rand(len(rows), 1, generator=draw) * direction
    return made


def tree(count: int, dim: int) -> Tensor:
    """A tree in which each node has one of those before it for parent, at 4 from it (`tree_like`), c = 1."""
    draw = torch.Generator().manual_seed(1)
    above = (torch.rand(count, generator=draw, dtype=torch.float64) * torch.arange(count)).long()
    above[0] = -1
    return tree_like(above, dim, edge=4.0, c=1.0, dtype=torch.float64, generator=draw).float()


def load(data: str, queries: int, count: int, dim: int, unseen: bool) -> tuple[Tensor, Tensor, float]:
    """Points, queries and c: "balls:DIM" (all nouns of WordNet), "tree:DIM", "clusters:INTRINSIC", or a file.

    A file is a checkpoint of `apps.taxonomy`, or what `apps.chest_vit predict` wrote, of which H is taken. Queries are
    among the points, but for clusters, or where `unseen` takes them out.
    """
    kind, _, number = data.partition(":")
    if kind == "clusters":
        drawn = [clusters(n, dim, int(number), 0.5, seed) for n, seed in ((count, 1), (queries, 2))]
        return drawn[0], drawn[1], 0.5
    c = 1.0
    if kind == "balls":
        from apps.datasets.taxonomies import wordnet
        from geomdml.hierarchy import nested_balls

        nouns = wordnet.load("nouns")
        points = nested_balls(nouns.edges, int(number), count=len(nouns), c=c).float()
    elif kind == "tree":
        points = tree(count, int(number))
    elif kind.endswith((".safetensors", ".parquet")):
        space = read_space(Path(data))
        points, c = space.to("tangent", read(Path(data), "H")), space.curvature
    else:
        from apps.taxonomy.model import TaxonomyEmbedding
        from apps.training.restore import restore

        model = restore(Path(data), TaxonomyEmbedding)[0]
        assert isinstance(model.space, Hyperbolic)
        points, c = model.space.to("tangent", model.embeddings).detach(), model.space.curvature
    chosen, others = torch.randperm(len(points), generator=torch.Generator().manual_seed(1)).tensor_split([queries])
    return points[others] if unseen else points, points[chosen], c


def ours(kind: Any) -> Callable[..., Search]:
    def build(points: Tensor, c: float, threads: int) -> Search:
        index = HyperbolicIndex(Hyperbolic(c), points.shape[1], kind=kind, threads=threads)
        for batch in points.split(250_000):
            index.add(batch)
        return lambda query, k, effort: index.search(query, k, effort=effort).indices

    return build


def exact(points: Tensor, c: float, threads: int) -> Search:
    space = Hyperbolic(c)
    return lambda query, k, effort: knn(query, points, k, space=space).indices


def vectors(points: Tensor, c: float, chart: Chart | Literal["lifted"], asks: bool = False) -> Any:
    """By which a Euclidean index goes; "lorentz" is lifted for inner products, with a query's time reversed."""
    if chart != "lifted":
        return Hyperbolic(c).to(chart, points).contiguous().numpy()
    X = c**0.5 * Hyperbolic(c).to("lorentz", points.double())
    X0 = (1 + (X * X).sum(1, keepdim=True)).sqrt()
    return torch.cat([X, -X0 if asks else X0], 1).float().numpy()


def faiss_index(kind: str, chart: str) -> Callable[..., Search]:
    def build(points: Tensor, c: float, threads: int) -> Search:
        import faiss

        faiss.omp_set_num_threads(threads)
        given = vectors(points, c, chart)
        metric = faiss.METRIC_INNER_PRODUCT if chart == "lifted" else faiss.METRIC_L2
        if kind == "hnsw":
            index = faiss.IndexHNSWFlat(given.shape[1], 32, metric)
            index.hnsw.efConstruction = 80
        elif kind == "ivf":
            lists = max(1, int(len(points) ** 0.5))
            index = faiss.index_factory(given.shape[1], f"IVF{lists},Flat", metric)
            index.train(given[:: max(1, len(given) // (40 * lists))])
        else:
            index = faiss.IndexFlat(given.shape[1], metric)
        index.add(given)

        def search(query: Tensor, k: int, effort: int) -> Tensor:
            how = {
                "hnsw": lambda: faiss.SearchParametersHNSW(efSearch=max(effort, 4 * k + 32)),
                "ivf": lambda: faiss.SearchParametersIVF(nprobe=effort),
                "flat": faiss.SearchParameters,
            }[kind]()
            return torch.from_numpy(index.search(vectors(query, c, chart, asks=True), 4 * k + 32, params=how)[1])

        return search

    return build


WAYS: dict[str, Callable[..., Search]] = {
    "knn": exact,
    "flat": ours("flat"),
    "graph": ours("graph"),
    "faiss flat, lifted": faiss_index("flat", "lifted"),
    "faiss hnsw, lifted": faiss_index("hnsw", "lifted"),
    "faiss hnsw, tangent": faiss_index("hnsw", "tangent"),
    "faiss hnsw, ball": faiss_index("hnsw", "ball"),
    "faiss ivf, tangent": faiss_index("ivf", "tangent"),
    "faiss ivf, ball": faiss_index("ivf", "ball"),
}


def ranked(query: Tensor, points: Tensor, rows: Tensor, k: int, c: float) -> Tensor:
    """The k smallest exact distances of each query to its candidates."""
    found = [
        Hyperbolic(c).dist(some[:, None], points[which.clamp(min=0)]).masked_fill(which < 0, torch.inf)
        for some, which in zip(query.split(50), rows.split(50), strict=True)
    ]
    distances = torch.cat(found)
    missing = max(0, k - distances.shape[1])
    return torch.nn.functional.pad(distances, (0, missing), value=torch.inf).sort(dim=1).values[:, :k]


def flat_index(points: Tensor, c: float, threads: int) -> HyperbolicIndex:
    index = HyperbolicIndex(Hyperbolic(c), points.shape[1], kind="flat", threads=threads)
    index.add(points)
    return index


def truth(path: str, threads: int, **data: Any) -> dict[str, Any]:
    """Write the true distances (Q, 100); say what the points are."""
    torch.set_num_threads(threads)
    points, query, c = load(**data)
    np.save(path, flat_index(points, c, threads).search(query, max(COUNTS)).distances.numpy())
    A = 2 * c**0.5 * points.double().norm(dim=1)
    return {"points": len(points), "dim": points.shape[1], "median A": float(A.median()), "largest A": float(A.max())}


def clocked(step: Callable[[], Tensor]) -> tuple[Tensor, float, float]:
    """What it gives, and its seconds of wall and of processor time."""
    start, processor = time.perf_counter(), time.process_time()
    result = step()
    return result, time.perf_counter() - start, time.process_time() - processor


def asked(way: str, path: str, efforts: list[int], threads: int, **data: Any) -> dict[str, Any]:
    """Seconds to build, bytes added; for each effort and k, recall and queries a second of wall and of processor time.

    Found is what is as near as the k-th true neighbour: where distances are equal, as in trees, any of them will do.
    In turn with each search our exact index is asked for 10; "times" is how many times its queries a second of
    processor time a way has, the median of three turns.
    """
    torch.set_num_threads(threads)
    points, query, c = load(**data)
    true, few = torch.from_numpy(np.load(path)), max(10, 10_000_000 // len(points))
    given, some = query[:few] if way in EXACT else query, query[: few // 4 + 1]
    ours("graph")(points[:300], c, threads)(points[:1], 1, 16)  # compiled before the clock runs
    before, start, processor = forget_peak("cpu"), time.perf_counter(), time.process_time()
    search = WAYS[way](points, c, threads)
    built = {"seconds": time.perf_counter() - start, "processor": time.process_time() - processor}
    built["bytes"] = peak("cpu") - before
    flat = flat_index(points, c, threads)
    found = []
    for effort in efforts:
        for k in COUNTS:

            def step(k: int = k, effort: int = effort) -> Tensor:
                rows = search(given, k, effort)
                return rows if way in ("knn", "flat", "graph") else ranked(given, points, rows, k, c)

            search(given[:2], k, effort)
            turns = []
            for _ in range(3):
                exact = clocked(lambda: flat.search(some, 10).distances)[2] / len(some)
                result, *spent = clocked(step)
                turns.append((*(len(given) / s for s in spent), exact / (spent[1] / len(given))))
            nearest = ranked(given, points, result, k, c) if result.dtype == torch.int64 else result
            recall = float((nearest <= true[: len(given), k - 1 : k] * (1 + 1e-6) + 1e-9).double().mean())
            rate, own_rate, times = map(statistics.median, zip(*turns, strict=True))
            found.append(
                {"effort": effort, "k": k, "recall": recall, "rate": rate, "own_rate": own_rate, "times": times}
            )
    return {**built, "load": os.getloadavg()[0], "found": found}


if __name__ == "__main__":
    yield_memory_first()
    given = json.loads(sys.argv[1])
    print(json.dumps(asked(**given) if "way" in given else truth(**given)))
