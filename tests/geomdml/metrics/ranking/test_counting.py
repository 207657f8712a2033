"""Scores by counting products in float32 are those of whole rows of distances, sorted; and of a loop."""

from fractions import Fraction
from math import fsum

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from geomdml.metrics import retrieval
from geomdml.metrics.ranking import counting as by_counting
from geomdml.metrics.ranking.screening import Products
from geomdml.spaces import Euclidean, Hyperbolic, Space

SPACES: list[Space] = [Euclidean(), *(Hyperbolic(c=0.7, chart=chart) for chart in ("tangent", "ball", "lorentz"))]
ALL = ("recall", "r_precision", "map_at_r", "mean_ap")
TIES = ("expected", "optimistic", "pessimistic", "index")


class Slow:
    """A space that is not known, so that its distances are sorted."""

    def __init__(self, space: Space) -> None:
        self.pairwise_dist, self.dist = space.pairwise_dist, space.dist


def points(space: Space, u: Tensor) -> Tensor:
    return Hyperbolic(0.7).to(space.chart, u) if isinstance(space, Hyperbolic) else u


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many queries each call answers by counting, None where it gives up."""
    answered: list[int] = []
    method = by_counting.ByCounting.rank

    def rank(self, rows, *args):
        found = method(self, rows, *args)
        answered.append(0 if found is None else len(rows))
        return found

    monkeypatch.setattr(by_counting.ByCounting, "rank", rank)
    return answered


@pytest.mark.parametrize("space", SPACES, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("leave_one_out", [True, False])
@pytest.mark.parametrize("ties", TIES)
def test_by_counting_is_by_sorting(monkeypatch, space, dtype, leave_one_out: bool, ties):
    """With duplicates, clusters far tighter than a float32 product can see, and points at the origin."""
    monkeypatch.setattr(by_counting, "QUERIES", 70)
    monkeypatch.setattr(by_counting, "COLUMNS", 88)
    answered = counted(monkeypatch)
    draw = torch.Generator().manual_seed(0)
    u = torch.randn(300, 9, generator=draw, dtype=dtype) * torch.rand(300, 1, generator=draw, dtype=dtype)
    u[270:280] = u[:10] * (1 + 1e-6)
    u[280:283] = 0
    u, labels = points(space, u), torch.randint(40, (300,), generator=draw)
    u[250:270] = u[:20]
    items = (u, labels) if leave_one_out else (u[:90], labels[:90], u[60:], labels[60:])
    found = retrieval(*items, space=space, ks=(1, 3, 50, 1000), scores=ALL, ties=ties)
    assert sum(answered) == found.queries
    assert found == retrieval(*items, space=Slow(space), ks=(1, 3, 50, 1000), scores=ALL, ties=ties)


@st.composite
def lattices(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Points of a small lattice, where distances tie, and labels."""
    size, seed = draw(st.integers(2, 40)), draw(st.integers(0, 99))
    rng = torch.Generator().manual_seed(seed)
    scale = draw(st.sampled_from([1.0, 1e-3, 1e-30, 1e12]))
    offset = draw(st.sampled_from([0.0, 1000.0]))
    lattice = torch.randint(-2, 3, (size, draw(st.integers(1, 3))), generator=rng)
    labels = torch.randint(draw(st.integers(1, 6)), (size,), generator=rng)
    labels[0] = labels[1]
    return scale * (lattice + offset), labels


def loop(x: Tensor, labels: Tensor) -> list[float]:
    """Recall@1, MAP@R and mAP from the definitions, with ties as they are stored; distances by their squares."""
    total: list[list[Fraction]] = []
    exact = [list(map(Fraction, row)) for row in x.tolist()]
    for i, label in enumerate(labels.tolist()):
        others = [j for j in range(len(labels)) if j != i]
        squares = {j: sum((a - b) ** 2 for a, b in zip(exact[i], exact[j], strict=True)) for j in others}
        relevance = [labels[j] == label for j in sorted(others, key=squares.__getitem__)]
        R = sum(map(int, relevance))
        if R:
            precision = [Fraction(int(sum(map(int, relevance[: k + 1]))), k + 1) for k in range(len(others))]
            hits = [p if rel else Fraction(0) for p, rel in zip(precision, relevance, strict=True)]
            total.append([Fraction(int(relevance[0])), sum(hits[:R], Fraction(0)) / R, sum(hits, Fraction(0)) / R])
    return [fsum(map(float, column)) / len(total) for column in zip(*total, strict=True)]


@given(lattices())
def test_a_loop_from_the_definitions(problem):
    x, labels = problem
    found = retrieval(x, labels, ks=(1,), scores=ALL, ties="index")
    assert [found.recall[1], found.map_at_r, found.mean_ap] == pytest.approx(loop(x, labels), rel=0, abs=1e-12)


@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_what_products_are_screened_by_is_never_wrong(space):
    """s above the high bound of a distance is nearer than it, below the low bound farther: for every pair of pairs."""
    draw = torch.Generator().manual_seed(3)
    x, y = (points(space, torch.randn(n, 24, generator=draw) * torch.rand(n, 1, generator=draw)) for n in (20, 60))
    products = Products.of(space, y)
    rows, everything = products.rows(x), slice(0, 60)
    s = rows.into(torch.empty(20, 60), everything)
    distances = space.pairwise_dist(x.double(), y.double())[:, products.order]
    slack = rows.slack(everything)
    surely_nearer = surely_farther = 0
    for j in range(60):
        low, high = rows.bounds(distances[:, j : j + 1])
        above, below = s > high + slack, s < low - slack
        assert not (above & (distances >= distances[:, j : j + 1])).any()
        assert not (below & (distances <= distances[:, j : j + 1])).any()
        surely_nearer, surely_farther = surely_nearer + above.sum(), surely_farther + below.sum()
    assert surely_nearer + surely_farther > 0.95 * 20 * 60 * 59


@pytest.mark.parametrize("space", [Euclidean(), Hyperbolic(0.7)], ids=repr)
@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_points_that_no_product_can_tell_apart(space, scale: float):
    if isinstance(space, Hyperbolic) and scale > 1:
        scale = 60.0
    draw = torch.Generator().manual_seed(5)
    x, labels = scale * torch.randn(150, 4, generator=draw), torch.randint(30, (150,), generator=draw)
    assert retrieval(x, labels, space=space, scores=ALL) == retrieval(x, labels, space=Slow(space), scores=ALL)


def test_a_collapsed_embedding():
    """All points within 1e-4 of one far from 0: only the differences from their mean tell."""
    draw = torch.Generator().manual_seed(5)
    x, labels = 100 + 1e-4 * torch.randn(400, 16, generator=draw), torch.randint(90, (400,), generator=draw)
    assert retrieval(x, labels, scores=ALL) == retrieval(x, labels, space=Slow(Euclidean()), scores=ALL)


def test_large_classes_are_sorted_and_small_ones_counted(monkeypatch):
    answered = counted(monkeypatch)
    draw = torch.Generator().manual_seed(6)
    x, labels = torch.randn(200, 5, generator=draw), torch.randint(20, (200,), generator=draw).clamp(max=12)
    assert retrieval(x, labels, scores=ALL) == retrieval(x, labels, space=Slow(Euclidean()), scores=ALL)
    assert 0 < sum(answered) < 200


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_the_precision_of_matrix_products_moves_no_score(precision):
    draw = torch.Generator().manual_seed(7)
    x, labels = torch.randn(200, 64, generator=draw), torch.randint(40, (200,), generator=draw)
    before, expected = torch.get_float32_matmul_precision(), retrieval(x, labels, scores=ALL)
    try:
        torch.set_float32_matmul_precision(precision)
        with torch.autocast("cpu", torch.bfloat16):
            assert retrieval(x, labels, scores=ALL) == expected
    finally:
        torch.set_float32_matmul_precision(before)


def test_memory_is_bounded_beside_a_copy_of_the_gallery():
    from torch.profiler import ProfilerActivity, profile

    x, labels = torch.randn(3000, 32), torch.arange(3000) // 4
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        retrieval(x, labels, memory_limit=2e6)
    largest = max(event.self_cpu_memory_usage for event in found.events())
    tile = 4 * by_counting.QUERIES * by_counting.COLUMNS
    assert largest <= max(tile, 8 * x.numel()) < 4 * 3000**2
