"""The index finds what an exact search finds, keeps what it is told, and says what it cannot."""

import json
import math
import os
import threading
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml.search import HyperbolicIndex, index, knn
from geomdml.search._unique_rows import distinct
from geomdml.spaces import Euclidean, Hyperbolic

CHARTS = ("tangent", "ball", "lorentz")
KINDS = ("flat", "graph")


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


def test_a_graph_finds_most():
    gallery, query = points(3000, seed=1), points(50, seed=2)
    graph = HyperbolicIndex(Hyperbolic(0.5), 8, kind="graph")
    graph.add(gallery)
    assert recall(graph.search(query, 10).indices, knn(query, gallery, 10, space=Hyperbolic(0.5)).indices) >= 0.99


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
        assert isinstance(second._rows.points, np.memmap)
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


X = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "expected Hyperbolic", lambda i: HyperbolicIndex(Euclidean(), 3)),
        (
            ValueError,
            "kind = 'ball'; expected one of 'auto', 'flat', 'graph'",
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
        (ValueError, "effort = 0; expected at least 1", lambda i: i.search(X, 1, effort=0)),
        (ValueError, "threads = 0; expected at least 1", lambda i: HyperbolicIndex(Hyperbolic(), 3, threads=0)),
        (ValueError, "labels go down to -2", lambda i: i.add(X, labels=torch.tensor([0, -2]))),
        (TypeError, "labels has dtype torch.float32", lambda i: i.search(X, 1, labels=torch.tensor([1.0]))),
        (ValueError, r"A = 2√c‖u‖ = 1e\+03; expected at most 500", lambda i: i.add(X + 408.25)),
        (FileNotFoundError, "index.json is missing", lambda i: HyperbolicIndex.load("/nonexistent")),
    ],
)
def test_a_mistake_is_named(error, message: str, call):
    built = HyperbolicIndex(Hyperbolic(), 3)
    built.add(X)
    with pytest.raises(error, match=message):
        call(built)


def test_auto_walks_a_graph_when_there_are_many(monkeypatch):
    monkeypatch.setattr(index, "SMALL", 500)
    built, x = HyperbolicIndex(Hyperbolic(0.5), 8), points(900)
    built.add(x[:400])
    assert not built.has_graph
    built.add(x[400:])
    assert built.has_graph
    assert recall(built.search(x, 10).indices, knn(x, x, 10, space=Hyperbolic(0.5)).indices) >= 0.99


def tree(depth: int, A: float) -> torch.Tensor:
    """Leaves at A in three dimensions, their parents at A minus a step, and so on: tight clusters of tight clusters."""
    draw, level = torch.Generator().manual_seed(3), torch.nn.functional.normalize(torch.eye(3, dtype=torch.float64))
    nodes = []
    for i in range(depth):
        radius = A * (i + 1) / depth
        nodes.append(level * radius / (2 * 0.5**0.5))
        noise = torch.randn(len(level), 4, 3, generator=draw, dtype=torch.float64)
        level = torch.nn.functional.normalize(level[:, None] + 2 / math.sinh(radius) * noise, dim=-1).flatten(0, 1)
    return torch.cat(nodes)


@pytest.mark.parametrize(
    ("kind", "A"), [*((kind, A) for kind in KINDS for A in (2.0, 9.0, 25.0, 150.0)), ("flat", 300.0)]
)
def test_no_radius_loses_neighbours(kind, A: float):
    """A tree out to A, as float32 keeps it: what is found is as near as what an exact search finds."""
    x = tree(6, A).float()
    built = HyperbolicIndex(Hyperbolic(0.5), 3, kind=kind)
    built.add(x)
    distances, _ = built.search(x[::20], 10)
    exact = knn(x[::20], x, 10, space=Hyperbolic(0.5)).distances
    near = torch.isclose(distances, exact, rtol=3e-7, atol=1e-6)
    assert near.all() if kind == "flat" else near.float().mean() >= 0.99
    assert (distances[:, 0] == 0).float().mean() >= (1 if kind == "flat" else 0.99)


def thrown_out(count: int, dim: int) -> torch.Tensor:
    """Radii as training leaves them: half of all beyond A = 165, the farthest at 468."""
    draw = torch.Generator().manual_seed(4)
    centres = torch.randn(50, dim, generator=draw, dtype=torch.float64).repeat(count // 50, 1)
    direction = torch.nn.functional.normalize(centres + 0.4 * torch.randn(centres.shape, generator=draw).double())
    return (468 / (2 * 0.5**0.5) * torch.rand(len(centres), 1, generator=draw) ** 1.5 * direction).float()


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("dim", [5, 10])
def test_points_thrown_far_out_find_themselves_and_what_is_near(tmp_path, monkeypatch, dim: int, mmap: bool):
    """Few near the origin are near to all, and cannot link back to all: by distance alone 0.86 find themselves."""
    monkeypatch.setattr(index, "_WORTH", 1)  # the graphs are walked however few are allowed
    x, space = thrown_out(3000, dim), Hyperbolic(0.5)
    built, flat = HyperbolicIndex(space, dim, kind="graph"), HyperbolicIndex(space, dim, kind="flat")
    built.add(x[:2000])
    built.add(x[2000:])
    flat.add(x)
    for gone in (torch.arange(100), torch.arange(100, 900)):  # passed over, then left out
        built.remove(gone)
        flat.remove(gone)
    built.save(tmp_path)
    built = HyperbolicIndex.load(tmp_path, mmap=mmap)
    assert built.has_rays
    stored, unseen = x[900:], 0.7 * x[900:] + 0.3 * x[900:].flip(0)
    even = torch.arange(0, 3000, 2)
    for query, least, among in ((stored, 0.999, {}), (unseen, 0.98, {}), (x[900::2], 0.999, {"ids": even})):
        found, exact = (each.search(query, 10, **among).distances for each in (built, flat))
        near = torch.isclose(found, exact, rtol=1e-6)
        assert near[:, 0].float().mean() >= least and near.float().mean() >= 0.98


def test_directions_have_a_graph_where_radii_differ():
    x = torch.nn.functional.normalize(points(600))
    built = HyperbolicIndex(Hyperbolic(0.5), 8, kind="graph")
    built.add(x[:300])
    assert built.has_graph and not built.has_rays
    built.add(1.5 * x[300:])
    assert built.has_rays and (built.search(x[:300], 1).indices[:, 0] == torch.arange(300)).all()
    flat = HyperbolicIndex(Hyperbolic(0.5), 8, kind="flat")
    flat.add(points(600))
    assert not flat.has_rays


def test_what_float32_moves_is_warned_of():
    built = HyperbolicIndex(Hyperbolic(0.5), 3)
    built.add(tree(4, 8.0))
    with pytest.warns(UserWarning, match=r"points move by up to 0\.\d+/√c"):
        built.add(tree(4, 16.0))


@pytest.mark.parametrize("kind", KINDS)
def test_search_among_ids_and_labels(kind, monkeypatch):
    monkeypatch.setattr(index, "_WORTH", 1)  # the graph is walked however few are allowed
    x, space = points(2000), Hyperbolic(0.5)
    built = HyperbolicIndex(space, 8, kind=kind)
    built.add(x, labels=torch.arange(2000) % 3)
    some = torch.arange(0, 2000, 2)
    for asked, rows in (
        ({"ids": some}, some),
        ({"labels": torch.tensor([1, 2])}, torch.arange(2000)[torch.arange(2000) % 3 > 0]),
        ({"ids": some, "labels": torch.tensor([0, 77])}, torch.arange(0, 2000, 6)),
        ({"ids": torch.tensor([5, 9, 99999])}, torch.tensor([5, 9])),
        ({"labels": torch.tensor([77])}, torch.tensor([], dtype=torch.long)),
    ):
        distances, found = built.search(x[:50], 10, **asked)
        k = min(10, len(rows))
        expected = rows[knn(x[:50], x[rows], k, space=space).indices]
        assert recall(found[:, :k], expected) >= (1 if kind == "flat" else 0.99) if k else True
        assert (found[:, k:] == -1).all() and distances[:, k:].isinf().all()


@pytest.mark.parametrize("kind", KINDS)
def test_removal_frees_memory_and_the_rest_is_found(kind):
    x, space = points(2000), Hyperbolic(0.5)
    built = HyperbolicIndex(space, 8, kind=kind)
    built.add(x)
    built.remove(torch.arange(400))
    assert len(built._rows.ids) >= 2000 and len(built) == 1600
    built.remove(torch.arange(400, 1200))
    assert all(len(array) in (800, 800 * built.has_graph) for _, array in built._rows._arrays())
    expected = 1200 + knn(x, x[1200:], 10, space=space).indices
    assert recall(built.search(x, 10).indices, expected) >= (1 if kind == "flat" else 0.99)
    built.add(x[:400], ids=torch.arange(400))
    assert recall(built.search(x[:400], 1).indices, torch.arange(400)[:, None]) == 1


def test_threads_change_nothing():
    one, three = (HyperbolicIndex(Hyperbolic(0.5), 8, kind="graph", threads=n) for n in (1, 3))
    x = torch.cat([points(600), points(600)])  # every point twice
    for built in (one, three):
        built.add(x[:900])
        built.add(x[900:])
        built.remove(torch.arange(0, 1200, 2))
    for (name, a), (_, b) in zip(one._rows._arrays(), three._rows._arrays(), strict=True):
        assert np.array_equal(a, b), name
    for a, b in zip(one.search(x, 5), three.search(x, 5), strict=True):
        assert torch.equal(a, b)


def test_searches_go_on_while_points_come_and_go():
    x, built = points(3000), HyperbolicIndex(Hyperbolic(0.5), 8, kind="graph")
    built.add(x[:1000])
    done, wrong = threading.Event(), []

    def searches() -> None:
        while not done.is_set():
            distances, found = built.search(x[:20], 3)
            if not (distances[:, 0] == 0).all() or not torch.equal(found[:, 0], torch.arange(20)):
                wrong.append(found)

    searching = threading.Thread(target=searches)
    searching.start()
    for start in range(1000, 3000, 100):
        built.add(x[start : start + 100])
        built.remove(torch.arange(start - 500, start - 440))
    done.set()
    searching.join()
    assert not wrong


def stored(folder, name: str):
    (path,) = folder.glob(f"{name}-*.npy")
    return path


def broken_links(folder, name: str) -> None:
    to = np.load(stored(folder, name))
    to[3, 0] = 10**6
    np.save(stored(folder, name), to)


def other_digest(folder, digest: object) -> None:
    about = json.loads((folder / "index.json").read_text())
    about["sha256"]["ids"] = digest
    (folder / "index.json").write_text(json.dumps(about))


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: np.save(stored(f, "ids"), np.arange(5)),
            r"points has float32 \(50, 8\); expected float32 \(5, 8\)",
        ),
        (lambda f: np.save(stored(f, "ids"), np.arange(50.0)), "ids has float64"),
        (lambda f: np.save(stored(f, "points"), np.array([{}] * 50), allow_pickle=True), "holds no index"),
        (lambda f: (f / "index.json").write_text('{"version": 1}'), "another version: build it anew"),
        (lambda f: (f / "index.json").write_text("[" * 70000), "holds no index"),
        (lambda f: (f / "index.json").write_text("[]"), "holds no index"),
        (lambda f: stored(f, "to").write_bytes(stored(f, "to").read_bytes()[:-9]), "holds no index"),
        (lambda f: other_digest(f, "../" * 20 + "x" * 4), "is no SHA-256"),
        (lambda f: other_digest(f, 7), "holds no index"),
        *(
            (lambda f, name=name: broken_links(f, name), "was changed after it was written|links to rows that are not")
            for name in ("to", "ray_to")
        ),
        (lambda f: np.save(stored(f, "ray_degree"), np.zeros(7, "<i4")), r"ray_to has int32 \(50, 24\)"),
    ],
)
def test_a_changed_folder_is_refused(tmp_path, mmap: bool, change, message: str):
    built = HyperbolicIndex(Hyperbolic(), 8, kind="graph")
    built.add(points(50))
    built.save(tmp_path)
    change(tmp_path)
    with pytest.raises(ValueError, match=message):
        HyperbolicIndex.load(tmp_path, mmap=mmap)


def test_a_changed_number_is_seen(tmp_path):
    built = HyperbolicIndex(Hyperbolic(), 8)
    built.add(points(50))
    built.save(tmp_path)
    np.save(stored(tmp_path, "points"), np.load(stored(tmp_path, "points")) + 1)
    with pytest.raises(ValueError, match=r"points-\w+\.npy was changed after it was written"):
        HyperbolicIndex.load(tmp_path)


def test_saving_over_what_is_mapped(tmp_path):
    built, x = HyperbolicIndex(Hyperbolic(), 8, kind="graph"), points(600)
    built.add(x)
    built.save(tmp_path)
    mapped = HyperbolicIndex.load(tmp_path, mmap=True)
    built.add(x + 0.1)
    built.save(tmp_path)
    assert len(mapped) == 600 and len(HyperbolicIndex.load(tmp_path)) == 1200
    assert torch.equal(mapped.search(x, 1).indices[:, 0], torch.arange(600))


@pytest.mark.parametrize("calls", [0, 1, 5, 8, 9, 10])
def test_a_save_that_is_broken_off_leaves_a_whole_index(tmp_path, monkeypatch, calls: int):
    """As a kill would at each of the renamings; then the next save works and leaves no other file."""
    x, renamed, replace = points(60), [], os.replace
    built = HyperbolicIndex(Hyperbolic(), 8, kind="graph")
    built.add(x[:50])
    built.save(tmp_path)
    built.remove(torch.arange(5))
    built.add(x[50:])

    def killed(*paths) -> None:
        if len(renamed) == calls:
            raise KeyboardInterrupt
        renamed.append(paths)
        replace(*paths)

    monkeypatch.setattr("os.replace", killed)
    with suppress(KeyboardInterrupt):
        built.save(tmp_path)
    monkeypatch.undo()
    whole = len(renamed) == 10  # nine arrays and index.json
    for mmap in (False, True):
        assert len(HyperbolicIndex.load(tmp_path, mmap=mmap)) == (55 if whole else 50)
    built.save(tmp_path)
    assert len(HyperbolicIndex.load(tmp_path)) == 55 and len(list(tmp_path.iterdir())) == 10


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
