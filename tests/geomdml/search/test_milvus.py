"""Milvus Lite finds what an exact search finds, refuses what it cannot hold, and loses nothing when it is killed."""

import json
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from geomdml.search import MilvusIndex, knn
from geomdml.spaces import Euclidean, Hyperbolic

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:ResourceWarning")
SPACE = Hyperbolic(0.5)


def points(count: int, farthest: float = 4.0, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    direction = torch.nn.functional.normalize(torch.randn(count, 8, generator=draw))
    return 0.9999 * farthest / (2 * 0.5**0.5) * torch.rand(count, 1, generator=draw) * direction


@pytest.mark.parametrize(("kind", "floor"), [("flat", 1.0), ("ivf", 0.95)])
def test_a_collection_from_its_making_to_another_day(tmp_path, kind, floor: float):
    x, query = points(600), points(20, seed=1)
    with MilvusIndex(SPACE, 8, uri=tmp_path / "p.db", kind=kind) as first:
        first.add(x, torch.arange(600), torch.arange(600) % 3)
        first.add(x[:2], torch.tensor([1, 0]))  # take the place of 1 and 0
        first.remove(torch.tensor([5, 9999]))
        assert len(first) == 599
    left = torch.cat([x[[1, 0]], x[2:5], x[6:]])
    ids = torch.cat([torch.arange(5), torch.arange(6, 600)])
    with MilvusIndex(SPACE, 8, uri=tmp_path / "p.db", kind=kind) as second:
        distances, found = second.search(query, 10, effort=1024)
        exact = knn(query, left, 10, space=SPACE)
        assert (found == ids[exact.indices]).float().mean() >= floor
        torch.testing.assert_close(distances[:, 0], exact.distances[:, 0], rtol=1e-5, atol=1e-5)
        among = second.search(query, 5, effort=1024, ids=torch.arange(100), labels=torch.tensor([2])).indices
        rows = torch.tensor([i for i in range(100) if i % 3 == 2 and i != 5])
        assert (among == rows[knn(query, x[rows], 5, space=SPACE).indices]).float().mean() >= floor
        assert (second.search(query, 3, labels=torch.tensor([77])).indices == -1).all()
        assert second.search(query[:0], 3).indices.shape == (0, 3)


def test_mistakes_and_other_peoples_collections_are_named(tmp_path):
    X, two = points(2), torch.tensor([0, 1])
    with MilvusIndex(SPACE, 8, uri=tmp_path / "p.db") as index:
        for error, message, call in (
            (ValueError, r"points has shape \(2, 7\); expected \(N, 8\)", lambda: index.add(X[:, :7], two)),
            (ValueError, "points has 16 entries that are NaN", lambda: index.add(X / 0 * 0, two)),
            (ValueError, "ids go down to -1", lambda: index.add(X, two - 1)),
            (ValueError, "ids has numbers twice", lambda: index.add(X, two * 0)),
            (ValueError, r"labels has shape \(1,\); expected \(2,\)", lambda: index.add(X, two, two[:1])),
            (ValueError, "expected at most 40 in Milvus", lambda: index.add(X * 0 + 20, two)),
            (ValueError, "candidates = 2; expected at least 3", lambda: index.search(X, 3, candidates=2)),
            (ValueError, "hands over at most 16384", lambda: index.search(X, 20000)),
        ):
            with pytest.raises(error, match=message):
                call()
        with pytest.warns(UserWarning, match="keeps the order up to 4"):
            index.add(X * 0 + 2, two)
        index.client.create_collection("other", dimension=9)
    for message, call in (
        (
            "'lorentz_c_0p5': 9, .*expected .*'lorentz_c_0p25': 9",
            lambda: MilvusIndex(Hyperbolic(0.25), 8, uri=tmp_path / "p.db"),
        ),
        (
            "'lorentz_c_0p5': 9, .*expected .*'ball_c_0p5': 8",
            lambda: MilvusIndex(SPACE, 8, uri=tmp_path / "p.db", kind="ivf"),
        ),
        ("'vector': 9.*; expected", lambda: MilvusIndex(SPACE, 8, uri=tmp_path / "p.db", collection="other")),
        ("collection = 'a b'", lambda: MilvusIndex(SPACE, 8, collection="a b")),
        ("kind = 'hnsw'; expected one of 'flat', 'ivf'", lambda: MilvusIndex(SPACE, 8, kind="hnsw")),
        ("expected Hyperbolic", lambda: MilvusIndex(Euclidean(), 8)),
    ):
        with pytest.raises(ValueError, match=message):
            call()


INSERT = """
import json, sys
from geomdml.search import MilvusIndex
from geomdml.spaces import Hyperbolic
MilvusIndex._rows_at_a_time = 100
with MilvusIndex(Hyperbolic(0.5), 8, uri=sys.argv[1]) as index:
    for acknowledged in index.add_parquet(sys.argv[2]):
        print(acknowledged, flush=True)
"""


def test_killed_in_the_middle_it_loses_nothing_and_finishes(tmp_path, monkeypatch):
    x = points(3000)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(x.numpy().reshape(-1)), 8)
    pq.write_table(pa.table({"H": vectors, "label": np.arange(3000) % 5}), tmp_path / "e.parquet")
    command = [sys.executable, "-W", "ignore", "-c", INSERT, str(tmp_path / "p.db"), str(tmp_path / "e.parquet")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as inserting:
        assert inserting.stdout is not None
        for line in inserting.stdout:
            if (acknowledged := json.loads(line)) >= 1000:
                inserting.send_signal(signal.SIGKILL)
                break
    monkeypatch.setattr(MilvusIndex, "_rows_at_a_time", 100)
    with MilvusIndex(SPACE, 8, uri=tmp_path / "p.db") as index:
        there = len(index)
        assert acknowledged <= there < 3000 and index._count(f"id < {acknowledged}") == acknowledged
        assert list(index.add_parquet(tmp_path / "e.parquet"))[-1] == len(index) == 3000
        assert torch.equal(index.search(x[::100], 1).indices[:, 0], torch.arange(0, 3000, 100))
        assert index._count("label == 4") == 600


def test_parquet_files_that_are_none(tmp_path):
    pq.write_table(pa.table({"H": [[1.0, 2.0], [1.0]]}), tmp_path / "ragged.parquet")
    with MilvusIndex(SPACE, 8, uri=tmp_path / "p.db") as index:
        for message, arguments in (
            ("does not exist", {"path": tmp_path / "none.parquet"}),
            (r"has columns \['H'\]; expected \['label'\] also", {"path": tmp_path / "ragged.parquet"}),
            ("other lists than of 8 numbers", {"path": tmp_path / "ragged.parquet", "labels": None}),
        ):
            with pytest.raises(ValueError, match=message):
                list(index.add_parquet(**arguments))
