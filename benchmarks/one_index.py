"""One kind of index, built and asked, `python -m benchmarks.one_index JSON`; for `benchmarks.index`."""

import json
import sys
import time
from typing import Literal

import torch

from benchmarks.measuring import forget_peak, peak, yield_memory_first
from geomdml.search import HyperbolicIndex, knn
from geomdml.spaces import Hyperbolic

CURVATURE = 0.5


def points(count: int, dim: int, intrinsic: int, seed: int, farthest: float = 4.0) -> torch.Tensor:
    """1,000 clusters in a subspace of `intrinsic` dimensions; A = 2√c‖u‖ even up to `farthest`."""
    draw, same = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(0)
    centres = torch.randn(1000, intrinsic, generator=same)
    basis = torch.linalg.qr(torch.randn(dim, intrinsic, generator=same)).Q.T
    made = torch.empty(count, dim)
    for rows in torch.arange(count).split(65536):
        near = centres[torch.randint(1000, (len(rows),), generator=draw)]
        direction = torch.nn.functional.normalize(near + torch.randn(near.shape, generator=draw)) @ basis
        made[rows] = farthest / (2 * CURVATURE**0.5) * 0.9999 * torch.rand(len(rows), 1, generator=draw) * direction
    return made


def asked(
    kind: Literal["flat", "graph"],
    count: int,
    dim: int,
    intrinsic: int,
    queries: int,
    efforts: list[int],
    threads: int,
) -> dict[str, object]:
    """Seconds to build, bytes added, and for each effort recall@10, queries a second and a second of processor time."""
    torch.set_num_threads(threads)
    space = Hyperbolic(CURVATURE)
    x, query = points(count, dim, intrinsic, 1), points(queries, dim, intrinsic, 2)
    truth = knn(query, x, 10, space=space).indices
    before, start, processor = forget_peak("cpu"), time.perf_counter(), time.process_time()
    index = HyperbolicIndex(space, dim, kind=kind, threads=threads)
    for batch in x.split(250_000):
        index.add(batch)
    built = {"seconds": time.perf_counter() - start, "processor": time.process_time() - processor}
    found = []
    for effort in efforts:
        start, processor = time.perf_counter(), time.process_time()
        ids = index.search(query, 10, effort=effort).indices
        seconds, processor = time.perf_counter() - start, time.process_time() - processor
        hits = sum(len(set(a) & set(b)) for a, b in zip(ids.tolist(), truth.tolist(), strict=True))
        found.append(
            {
                "effort": effort,
                "recall": hits / truth.numel(),
                "rate": queries / seconds,
                "own_rate": queries / processor,
            }
        )
    return {**built, "bytes": peak("cpu") - before, "found": found}


if __name__ == "__main__":
    yield_memory_first()
    print(json.dumps(asked(**json.loads(sys.argv[1]))))
