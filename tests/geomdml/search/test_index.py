"""The index finds what an exact search finds, keeps what it is told, and says what it cannot."""

import contextlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml.search import HyperbolicIndex, index, knn
from geomdml.search._unique_rows import distinct
from geomdml.spaces import Euclidean, Hyperbolic

CHARTS = ("tangent", "ball", "lorentz")
KINDS = ("flat", "hnsw", "ivfpq")


def points(count: int, dim: int = 8, *, c: float = 0.5, farthest: float = 4.0, seed: int = 0) -> torch.Tensor:
    """Tangent vectors up to A = 2√c‖u‖ = farthest."""
    draw = torch.Generator().manual_seed(seed)
    direction = torch.nn.functional.normalize(torch.randn(count, dim, generator=draw))
    return 0.9999 * farthest / (2 * c**0.5) * torch.rand(count, 1, generator=draw) * direction


def recall(found: torch.Tensor, expected: torch.Tensor) -> float:
    hits = [len(set(a) & set(b)) for a, b in zip(found.tolist(), expected.tolist(), strict=True)]
    return sum(hits) / expected.numel()


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("c", [0.1, 0.5, 2.0])
def test_flat_finds_what_knn_finds(chart, c: float):
    space = Hyperbolic(c, chart=chart)
    gallery, query = (Hyperbolic(c).to(chart, points(n, c=c, seed=n)) for n in (2000, 50))
    flat = HyperbolicIndex(space, 8)
    flat.add(gallery)
    distances, ids = flat.search(query, 10)
    expected = knn(query, gallery, 10, space=space)
    assert recall(ids, expected.indices) >= 0.999
    torch.testing.assert_close(distances, expected.distances, rtol=3e-7, atol=1e-6)


@pytest.mark.parametrize(("kind", "floor"), [("hnsw", 0.95), ("ivfpq", 0.9)])
def test_approximate_indices_find_most(kind, floor: float):
    gallery, query = points(3000, seed=1), points(50, seed=2)
    approximate = HyperbolicIndex(Hyperbolic(0.5), 8, kind=kind)
    approximate.add(gallery)
    ids = approximate.search(query, 10, candidates=200, effort=256).indices
    assert recall(ids, knn(query, gallery, 10, space=Hyperbolic(0.5)).indices) >= floor


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mmap", [False, True])
def test_saved_and_loaded_it_is_the_same(tmp_path, kind, mmap: bool):
    first = HyperbolicIndex(Hyperbolic(0.5, chart="ball"), 8, kind=kind)
    x = Hyperbolic(0.5).to("ball", points(600))
    first.add(x, ids=torch.arange(600) * 3)
    first.remove(torch.tensor([0, 30]))
    first.save(tmp_path / "index")
    second = HyperbolicIndex.load(tmp_path / "index", mmap=mmap)
    assert len(second) == len(first) == 598 and repr(second.space) == repr(first.space)
    for a, b in zip(first.search(x[:40], 5), second.search(x[:40], 5), strict=True):
        assert torch.equal(a, b)
    if mmap:
        with pytest.raises(ValueError, match="memory-mapped, and only read"):
            second.add(x[:1])
        assert isinstance(second._points, np.memmap)
    else:
        second.add(x[:1])
        assert second.search(x[:1], 1).indices.tolist() == [[1798]]
    second.remove(torch.tensor([3]))
    assert 3 not in second.search(x[1:2], 5).indices


@given(data=st.data())
def test_adding_and_removing_as_a_dictionary_does(data):
    """On a lattice of few points: the index and a dictionary, after any additions and removals."""
    built, kept = HyperbolicIndex(Hyperbolic(1.0), 2), {}
    for step in range(data.draw(st.integers(1, 4))):
        new = data.draw(st.lists(st.integers(0, 30), unique=True, max_size=6))
        new = [number for number in new if number not in kept]
        draw = torch.Generator().manual_seed(step)
        x = torch.randint(-2, 3, (len(new), 2), generator=draw) / 4
        built.add(x, ids=torch.tensor(new, dtype=torch.long))
        kept |= dict(zip(new, x, strict=True))
        gone = data.draw(st.lists(st.sampled_from(sorted(kept)), unique=True) if kept else st.just([]))
        built.remove(torch.tensor(gone, dtype=torch.long))
        kept = {number: point for number, point in kept.items() if number not in gone}
    assert len(built) == len(kept)
    query = torch.tensor([[0.1, 0.2]])
    distances, ids = built.search(query, 40)
    order = sorted(kept)
    if kept:
        expected = knn(query, torch.stack([kept[number] for number in order]), len(order), space=Hyperbolic(1.0))
        assert ids[0, : len(order)].tolist() == [order[i] for i in expected.indices[0].tolist()]
    assert (ids[0, len(order) :] == -1).all() and distances[0, len(order) :].isinf().all()


def test_batches_larger_than_what_is_held_at_a_time(tmp_path, monkeypatch):
    x = points(700)
    np.save(tmp_path / "x.npy", x.numpy())
    at_once = HyperbolicIndex(Hyperbolic(0.5), 8)
    at_once.add(x)
    monkeypatch.setattr(index, "_BATCH", 1000)
    piecewise = HyperbolicIndex(Hyperbolic(0.5), 8)
    piecewise.add(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert torch.equal(piecewise.search(x, 3).indices, at_once.search(x, 3).indices)


def test_it_works_beside_what_pytorch_metric_learning_does_to_faiss():
    """Its `faiss.contrib.torch_utils` replaces methods of every index."""
    import faiss
    import pytorch_metric_learning.utils.inference  # noqa: F401

    assert hasattr(faiss.IndexFlatIP, "search_numpy")
    for kind in KINDS:
        built = HyperbolicIndex(Hyperbolic(0.5), 8, kind=kind)
        built.add(points(300))
        built.remove(torch.tensor([4]))
        assert built.search(points(300)[5:6], 1).indices.tolist() == [[5]]


def tight_clusters(A: float) -> torch.Tensor:
    """20 clusters of 100 points each at A from the origin; neighbours are some 0.1 from each other, all around."""
    draw, dim, unit = torch.Generator().manual_seed(1), 32, A / (2 * 0.5**0.5)
    centre = unit * torch.nn.functional.normalize(torch.randn(20, dim, generator=draw)).repeat_interleave(100, 0)
    noise = torch.randn(2000, dim, generator=draw) / dim**0.5
    along = (noise * centre).sum(1, keepdim=True) / unit**2 * centre
    return centre + 0.05 * along + 0.05 * (noise - along) * A / math.sinh(A)


@pytest.mark.parametrize(("A", "lost"), [(2.0, False), (index.RANGE * 0.98, False), (8.0, True)])
def test_the_stated_range_of_radii(A: float, lost: bool):
    """In it, float32 products hand over all the neighbours even of tight clusters; at twice its end they do not."""
    flat, x = HyperbolicIndex(Hyperbolic(0.5), 32), tight_clusters(A)
    with pytest.warns(UserWarning, match="float32 products") if lost else contextlib.nullcontext():
        flat.add(x)
    found = recall(flat.search(x[::50], 10).indices, knn(x[::50], x, 10, space=Hyperbolic(0.5)).indices)
    assert found < 0.9 if lost else found >= 0.999


X = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "expected Hyperbolic", lambda i: HyperbolicIndex(Euclidean(), 3)),
        (
            ValueError,
            "kind = 'ball'; expected one of 'flat', 'hnsw'",
            lambda i: HyperbolicIndex(Hyperbolic(), 3, kind="ball"),
        ),
        (ValueError, "dim = 0; expected at least 1", lambda i: HyperbolicIndex(Hyperbolic(), 0)),
        (ValueError, r"points has shape \(2, 2\); expected \(N, 3\)", lambda i: i.add(X[:, :2])),
        (ValueError, "points has 6 entries that are NaN", lambda i: i.add(X / 0)),
        (ValueError, "ids has numbers twice", lambda i: i.add(X, torch.tensor([5, 5]))),
        (ValueError, "ids has numbers twice, or some that are in the index", lambda i: i.add(X, torch.tensor([5, 0]))),
        (ValueError, "ids go down to -1", lambda i: i.add(X, torch.tensor([-1, 9]))),
        (ValueError, r"ids has shape \(1,\); expected \(2,\)", lambda i: i.add(X, torch.tensor([9]))),
        (ValueError, "1 of these ids are not in the index, 77 for one", lambda i: i.remove(torch.tensor([0, 77]))),
        (ValueError, "k = 0; expected at least 1", lambda i: i.search(X, 0)),
        (TypeError, "k is a float", lambda i: i.search(X, 1.0)),
        (ValueError, "candidates = 2; expected at least 3", lambda i: i.search(X, 3, candidates=2)),
        (FileNotFoundError, "index.faiss is missing", lambda i: HyperbolicIndex.load("/nonexistent")),
    ],
)
def test_a_mistake_is_named(error, message: str, call):
    built = HyperbolicIndex(Hyperbolic(), 3)
    built.add(X)
    with pytest.raises(error, match=message):
        call(built)


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    built = HyperbolicIndex(Hyperbolic(), 3)
    built.add(X)
    built.save(tmp_path)
    np.save(tmp_path / "ids.npy", np.arange(5))
    with pytest.raises(ValueError, match="not of one index"):
        HyperbolicIndex.load(tmp_path)
    np.save(tmp_path / "points.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="holds no index of this version"):
        HyperbolicIndex.load(tmp_path)


@given(st.lists(st.lists(st.sampled_from([0.0, -0.0, 1.0, 2.0, -3.0]), min_size=2, max_size=2)), st.booleans())
def test_distinct_points(rows, wide: bool):
    x = torch.tensor(rows, dtype=torch.float64 if wide else torch.float32).view(-1, 2)
    first, which = distinct(x)
    seen: dict[tuple, int] = {}
    expected = [seen.setdefault(tuple(row), i) for i, row in enumerate(x.tolist())]  # 0.0 == -0.0
    assert first[which].tolist() == expected
    permuted = x.flip(0)
    assert torch.equal(permuted[distinct(permuted)[0]], x[first])


def test_a_collision_of_hashes_is_seen(monkeypatch):
    monkeypatch.setattr("geomdml.search._unique_rows._key", lambda block: torch.zeros(len(block)).long())
    x = torch.tensor([[1.0], [2.0], [1.0], [3.0]])
    first, which = distinct(x)
    assert torch.equal(x[first][which], x) and len(first) == 3
