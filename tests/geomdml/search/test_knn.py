"""knn against a full sort of all distances."""

from importlib import import_module

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml.search import knn
from geomdml.spaces import Euclidean, Hyperbolic

nearest = import_module("geomdml.search.knn")  # the package gives its function this name
SPACES = [Euclidean(), *(Hyperbolic(c=0.7, chart=chart) for chart in ("tangent", "ball", "lorentz"))]


def sorted_by_distance(query, gallery, k, space):
    distances, order = space.pairwise_dist(query, gallery).sort(dim=1, stable=True)
    return distances[:, :k], order[:, :k]


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 7, 300, 1000])
def test_equals_a_full_sort(space, dtype, k, monkeypatch):
    monkeypatch.setattr(nearest, "_LONG", 64)
    monkeypatch.setattr(nearest, "_CHUNK", 640)
    torch.manual_seed(0)
    query, gallery = (0.3 * torch.nn.functional.normalize(torch.randn(n, 5, dtype=dtype)) for n in (23, 1000))
    distances, indices = knn(query, gallery, k, space=space)
    expected, _ = sorted_by_distance(query, gallery, k, space)
    torch.testing.assert_close(distances, expected)
    assert (distances.diff() >= 0).all() and all(len(set(row)) == k for row in indices.tolist())
    torch.testing.assert_close(space.pairwise_dist(query, gallery).gather(1, indices), distances)


@given(
    data=st.data(),
    Q=st.integers(0, 6),
    P=st.integers(0, 40),
    long=st.integers(1, 16),
    chunk=st.integers(1, 64),
)
def test_ties_go_by_index_however_the_work_is_cut(data, Q, P, long, chunk):
    """On a small lattice, where distances are exact and most of them tie; half of the points are repeated."""
    k = data.draw(st.integers(0, P))
    seed = data.draw(st.integers(0, 99))
    rng = torch.Generator().manual_seed(seed)
    query, gallery = (torch.randint(-1, 2, (n, 2), generator=rng).float() for n in (Q, P))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "_LONG", long)
        patch.setattr(nearest, "_CHUNK", chunk)
        distances, indices = knn(query, gallery, k)
    expected = sorted_by_distance(query, gallery, k, Euclidean())
    assert torch.equal(distances, expected[0]) and torch.equal(indices, expected[1])
    assert distances.shape == indices.shape == (Q, k)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_equal_points_tie_wherever_they_stand(space):
    """A matrix product may round equal columns differently: the neighbours must not show it."""
    torch.manual_seed(1)
    some = 0.3 * torch.nn.functional.normalize(torch.randn(7, 33, dtype=torch.float64))
    gallery = some.repeat(5, 1)
    distances, indices = knn(0.2 * some.flip(1), gallery, 35, space=space)
    assert (distances.view(7, 7, 5).diff() == 0).all()
    assert (indices.view(7, 7, 5).diff() == 7).all()


def test_a_point_is_its_own_nearest_neighbour():
    points = torch.randn(50, 8)
    distances, indices = knn(points, points, 1, space=Hyperbolic(c=1.0))
    assert indices[:, 0].tolist() == list(range(50)) and (distances == 0).all()


def test_no_more_distances_at_a_time_than_it_says(monkeypatch):
    asked = []

    class Spy(Euclidean):
        def pairwise_dist(self, x, y):
            asked.append(len(x) * len(y))
            return super().pairwise_dist(x, y)

    monkeypatch.setattr(nearest, "_LONG", 32)
    monkeypatch.setattr(nearest, "_CHUNK", 128)
    knn(torch.randn(100, 2), torch.randn(1000, 2), 3, space=Spy())
    assert max(asked) <= 128 and sum(asked) == 100_000


def test_memory_does_not_grow_with_how_often_points_are_repeated(monkeypatch):
    """One point many times among many: 10 times as much for one query, were each point given as much room."""
    from torch.profiler import ProfilerActivity, profile

    monkeypatch.setattr(nearest, "_LONG", 64)
    monkeypatch.setattr(nearest, "_CHUNK", 2**14)
    draw = torch.Generator().manual_seed(0)
    gallery = torch.randn(4000, 4, generator=draw)
    gallery[torch.randperm(4000, generator=draw)[:500]] = gallery[0].clone()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        distances, indices = knn(gallery[:30], gallery, 400)
    assert max(event.self_cpu_memory_usage for event in found.events()) <= 2 * 8 * (
        2**14 + 4000
    )  # a chunk, and the last row in it
    expected = sorted_by_distance(gallery[:30], gallery, 400, Euclidean())
    torch.testing.assert_close(distances, expected[0])
    assert indices[0].tolist() == [row for row in range(4000) if torch.equal(gallery[row], gallery[0])][:400]


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("copies", [(1,), (2,), (30,), (1, 30), (30, 1, 1), (3, 5, 7), (1,) * 9 + (40,)])
@pytest.mark.parametrize("chunk", [1, 37, 2**14])
def test_repeated_points_of_any_number(space, copies, chunk, monkeypatch):
    """Every k, on points that stand so often each, shuffled."""
    monkeypatch.setattr(nearest, "_CHUNK", chunk)
    draw = torch.Generator().manual_seed(len(copies))
    points = 0.4 * torch.nn.functional.normalize(torch.randn(len(copies), 3, generator=draw, dtype=torch.float64))
    which = torch.arange(len(copies)).repeat_interleave(torch.tensor(copies))
    which = which[torch.randperm(len(which), generator=draw)]
    query = torch.cat([points[:2], -points[:1], 0 * points[:1]])
    distances = knn(query, points, len(points), space=space)
    far = torch.empty_like(distances.distances).scatter_(1, distances.indices, distances.distances)[:, which]
    expected = far.sort(dim=1, stable=True)
    for k in sorted({0, 1, min(2, len(which)), len(which) // 2, len(which) - 1, len(which)}):
        found = knn(query, points[which], k, space=space)
        assert torch.equal(found.indices, expected.indices[:, :k])
        assert torch.equal(found.distances, expected.values[:, :k])


def test_half_precision_gives_float32_and_no_gradient():
    points = torch.randn(5, 3, dtype=torch.bfloat16).requires_grad_()
    distances, indices = knn(points, points, 2)
    assert distances.dtype == torch.float32 and indices.dtype == torch.int64 and not distances.requires_grad


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "k = 4 with 3 points in the gallery; expected 0 to 3", lambda x: knn(x, x, 4)),
        (ValueError, "k = -1", lambda x: knn(x, x, -1)),
        (TypeError, "k is a float", lambda x: knn(x, x, 1.0)),
        (TypeError, "k is a bool", lambda x: knn(x, x, True)),
        (ValueError, "gallery has 6 entries that are NaN", lambda x: knn(x, x / 0, 1)),
        (ValueError, "last dimensions differ", lambda x: knn(x, x[:, :1], 1)),
        (TypeError, "query has dtype torch.int64", lambda x: knn(x.long(), x, 1)),
    ],
)
def test_what_cannot_be_is_refused(error, message, call):
    with pytest.raises(error, match=message):
        call(torch.ones(3, 2))
