"""Scores and neighbours do not depend on the route of their distances: one rule says which are equal."""

from importlib import import_module

import pytest
import torch
from torch import Tensor

from geomdml.metrics import retrieval, shrec
from geomdml.metrics.ranking import counting, sorting
from geomdml.search import knn
from geomdml.search._matched_pairs import OneToOne
from geomdml.search._ties import bounds, tied
from geomdml.spaces import Euclidean, Hyperbolic, Space

nearest = import_module("geomdml.search.knn")  # the package gives its function this name
SPACES: list[Space] = [Euclidean(), *(Hyperbolic(c=0.5, chart=chart) for chart in ("tangent", "ball", "lorentz"))]
ALL = ("recall", "r_precision", "map_at_r", "mean_ap")
EVERY_SPACE = pytest.mark.parametrize("space", SPACES, ids=repr)
EVERY_DTYPE = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=repr)


def lattice(space: Space, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A grid of 125 points about the origin, 25 of them twice, in a random order, and labels.

    Distances tie by symmetry: coordinates change places, so that sums of squares round otherwise.
    """
    draw = torch.Generator().manual_seed(0)
    u = torch.cartesian_prod(*[torch.tensor([-0.7, -0.3, 0.0, 0.3, 0.7], dtype=dtype)] * 3)
    u = torch.cat([u, u[::5]])[torch.randperm(150, generator=draw)]
    x = Hyperbolic(0.5).to(space.chart, u) if isinstance(space, Hyperbolic) else u
    return x, torch.randint(6, (150,), generator=draw)


@EVERY_SPACE
@EVERY_DTYPE
@pytest.mark.parametrize("ties", ["expected", "optimistic", "pessimistic", "index"])
def test_counting_sorting_and_the_memory_limit(space, dtype, ties, monkeypatch):
    x, labels = lattice(space, dtype)
    expected = retrieval(x, labels, space=space, ks=(1, 5, 40), scores=ALL, ties=ties)
    for limit in (sorting.BYTES * 300, 1e6):  # one query at a time, and more
        assert retrieval(x, labels, space=space, ks=(1, 5, 40), scores=ALL, ties=ties, memory_limit=limit) == expected
    monkeypatch.setattr(counting, "FEW", 99)
    monkeypatch.setattr("geomdml.metrics.ranking.counting._DOUBTFUL", 1.0)
    assert retrieval(x, labels, space=space, ks=(1, 5, 40), scores=ALL, ties=ties) == expected
    monkeypatch.setattr(counting, "FEW", 0)
    assert retrieval(x, labels, space=space, ks=(1, 5, 40), scores=ALL, ties=ties) == expected
    monkeypatch.setattr(sorting, "_LONG", 1)
    assert retrieval(x, labels, space=space, ks=(1, 5, 40), scores=ALL, ties=ties) == expected


@EVERY_SPACE
@EVERY_DTYPE
def test_the_order_of_the_gallery(space, dtype):
    x, labels = lattice(space, dtype)
    found, shape_scores = retrieval(x, labels, space=space, scores=ALL), shrec(x, labels, space=space)
    order = torch.randperm(150, generator=torch.Generator().manual_seed(1))
    assert retrieval(x[order], labels[order], space=space, scores=ALL) == found
    assert shrec(x[order], labels[order], space=space) == shape_scores


@EVERY_SPACE
@EVERY_DTYPE
@pytest.mark.parametrize("k", [1, 5, 40, 150])
def test_neighbours_are_those_of_the_scores(space, dtype, k, monkeypatch):
    """Recall@k with ties by index, from the neighbours; and however the work is cut."""
    x, labels = lattice(space, dtype)
    query, gallery = x[:50], x
    found = knn(query, gallery, k, space=space)
    for long in (16, 64):
        monkeypatch.setattr(nearest, "_LONG", long)
        assert torch.equal(knn(query, gallery, k, space=space).indices, found.indices)
    hit = (labels[found.indices] == labels[:50, None]).any(1).double().mean()
    scores = retrieval(query, labels[:50], gallery, labels, space=space, ks=(k,), scores=("recall",), ties="index")
    assert scores.recall[k] == pytest.approx(float(hit), abs=1e-15)


@EVERY_SPACE
@EVERY_DTYPE
def test_pairs_one_to_one_are_those_of_the_matrix(space, dtype):
    x, _ = lattice(space, dtype)
    matrix = space.pairwise_dist(x, x)
    i, j = torch.cartesian_prod(torch.arange(150), torch.arange(150)).T
    low, high = bounds(matrix[i, j])
    single = OneToOne(space, x, x)(i, j)
    assert (low <= single).all() and (single <= high).all()


@EVERY_SPACE
def test_a_distance_is_the_same_wherever_it_stands(space):
    """To the last bit, in tensors of any length."""
    draw = torch.Generator().manual_seed(0)
    x, y = (torch.randn(200, 3, generator=draw, dtype=torch.float64) for _ in range(2))
    if isinstance(space, Hyperbolic):
        x, y = (Hyperbolic(0.5).to(space.chart, z) for z in (x, y))
    whole = space.dist(x, y)
    for length in (1, 3, 8, 16, 33):
        for start in range(0, 160, 3):
            part = slice(start, start + length)
            assert torch.equal(space.dist(x[part], y[part]), whole[part])


def test_runs_of_equal_distances():
    row = torch.tensor([[2.0, 1 + 2e-14, 0.0, 1.0, 1 - 2e-14, 1 + 1e-12, torch.inf]], dtype=torch.float64)
    expected = torch.tensor([[2.0, 1 - 2e-14, 0.0, 1 - 2e-14, 1 - 2e-14, 1 + 1e-12, torch.inf]], dtype=torch.float64)
    assert torch.equal(tied(row), expected)
    assert tied(row.float()).equal(row.float())
