"""Does Milvus Lite lose what it acknowledged when it is killed? `python -m benchmarks.milvus`

A million clustered points in 128 dimensions (`benchmarks.one_index.clusters`, in 16 of them) go from a Parquet file, as
`predict` writes it, through `MilvusIndex.add_parquet` in a process that is killed (SIGKILL) in the middle. Then: how
many of the acknowledged rows are lost, how long the rest takes, and recall@10 and queries a second in the end.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.one_index import clusters
from geomdml.search import HyperbolicIndex, MilvusIndex
from geomdml.spaces import Hyperbolic

DIM, C = 128, 0.5
INSERT = """
import sys
from geomdml.search import MilvusIndex
from geomdml.spaces import Hyperbolic
with MilvusIndex(Hyperbolic({c}), {dim}, uri=sys.argv[1]) as index:
    for acknowledged in index.add_parquet(sys.argv[2]):
        print(acknowledged, flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    points, query = (clusters(n, DIM, 16, C, seed) for n, seed in ((options.points, 1), (options.queries, 2)))
    with tempfile.TemporaryDirectory() as folder:
        results = survive(Path(folder), points, query)
    print(json.dumps(results, indent=1))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "milvus.json").write_text(json.dumps(results, indent=1), encoding="utf-8")


def survive(folder: Path, points: torch.Tensor, query: torch.Tensor) -> dict[str, float]:
    rows, database = folder / "embeddings.parquet", folder / "points.db"
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(points.numpy().reshape(-1)), DIM)
    pq.write_table(pa.table({"H": vectors, "label": pa.array([i % 1000 for i in range(len(points))])}), rows)
    command = [sys.executable, "-c", INSERT.format(c=C, dim=DIM), str(database), str(rows)]
    start, acknowledged = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as inserting:
        assert inserting.stdout is not None
        for line in inserting.stdout:
            acknowledged = int(line)
            if acknowledged >= len(points) // 2:
                inserting.send_signal(signal.SIGKILL)
                break
    found = {"killed_at": acknowledged, "seconds_until_then": time.perf_counter() - start}
    start = time.perf_counter()
    with MilvusIndex(Hyperbolic(C), DIM, uri=database) as index:
        found |= {"reopened_in": time.perf_counter() - start, "there": len(index)}
        found["acknowledged_and_lost"] = acknowledged - index._count(f"id < {acknowledged}")
        start = time.perf_counter()
        for done in index.add_parquet(rows):
            found["finished"] = done
        found |= {"rest_in": time.perf_counter() - start, "in_the_end": len(index)}
        index.search(query[:1], 10)
        start = time.perf_counter()
        ids = index.search(query, 10).indices
        found["queries_per_second"] = len(query) / (time.perf_counter() - start)
    exact = HyperbolicIndex(Hyperbolic(C), DIM, kind="flat", threads=1)
    exact.add(points)
    true = exact.search(query, 10).indices
    hits = sum(len(set(a) & set(b)) for a, b in zip(ids.tolist(), true.tolist(), strict=True))
    return found | {"recall@10": hits / true.numel()}


if __name__ == "__main__":
    main()
