"""Every score is between 0 and 1 and the mean over all orders of ties, in every space and dtype, on small lists."""

from itertools import chain, groupby, permutations, product
from statistics import fmean

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml.metrics import retrieval, shrec
from geomdml.spaces import Euclidean, Hyperbolic
from tests.geomdml.metrics.test_shrec import scores_by_enumeration, values

SPACES = (None, Euclidean(), *(Hyperbolic(0.5, chart=chart) for chart in ("tangent", "ball", "lorentz")))
ALL = ("recall", "r_precision", "map_at_r", "mean_ap")
KS = (1, 2, 3, 9)


def retrieval_of_order(relevance: list[bool]) -> list[float]:
    """Recall at each of KS, R-precision, MAP@R and mAP of MATH.md section 7 for one ranked list."""
    R = sum(relevance)
    precision = [sum(relevance[:i]) / i if relevance[i - 1] else 0.0 for i in range(1, len(relevance) + 1)]
    recall = [float(any(relevance[:k])) for k in KS]
    return [*recall, sum(relevance[:R]) / R, sum(precision[:R]) / R, sum(precision) / R]


def points(place: list[int], space, dtype: torch.dtype) -> torch.Tensor:
    """0, r and −r on a line: from each, equal places are equally far, and from 0 both others are, to the last bit."""
    line = torch.tensor(place, dtype=dtype)[:, None] * torch.tensor([[0.25, 0.0, 0.5]], dtype=dtype)
    return in_chart(line, space)


def in_chart(tangent: torch.Tensor, space) -> torch.Tensor:
    """Tangent vectors at the origin as points of the space."""
    if not isinstance(space, Hyperbolic):
        return tangent
    return Hyperbolic(space.curvature).to(space.chart, tangent).to(tangent.dtype)


def blocks(place: list[int], labels: list[int], query: int, gallery: list[int]) -> list[list[bool]]:
    ranked = sorted(gallery, key=lambda j: abs(place[j] - place[query]))
    grouped = groupby(ranked, lambda j: abs(place[j] - place[query]))
    return [[labels[j] == labels[query] for j in block] for _, block in grouped]


DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.mark.parametrize("space", SPACES, ids=repr)
@pytest.mark.parametrize("dtype", DTYPES, ids=repr)
@given(st.lists(st.tuples(st.integers(-1, 1), st.integers(0, 1)), min_size=2, max_size=6), st.integers(0, 3))
def test_scores_are_the_mean_over_all_orders_in_every_space_and_dtype(space, dtype, items, queries):
    place, labels = map(list, zip(*items, strict=True))
    labels[0] = labels[-1]
    queries = min(queries, len(items) - 1)  # 0: each searches all the others
    own = range(queries or len(items))
    lists = [blocks(place, labels, i, [j for j in range(queries, len(items)) if queries or j != i]) for i in own]
    lists = [found for found in lists if any(map(any, found))]
    x, y = points(place, space, dtype), torch.tensor(labels)
    arguments = (x[:queries], y[:queries], x[queries:], y[queries:]) if queries else (x, y)
    orders = [[list(chain(*order)) for order in product(*map(permutations, found))] for found in lists]
    found = retrieval(*arguments, space=space, ks=KS, scores=ALL)
    means = [[fmean(c) for c in zip(*map(retrieval_of_order, some), strict=True)] for some in orders]
    for got, expected in (
        (values(shrec(*arguments, space=space)), [scores_by_enumeration(some) for some in lists]),
        ([*found.recall.values(), found.r_precision, found.map_at_r, found.mean_ap], means),
    ):
        assert got == pytest.approx([fmean(column) for column in zip(*expected, strict=True)], abs=1e-12)
        assert all(-1e-12 <= score <= 1 + 1e-12 for score in got)


@pytest.mark.parametrize("space", SPACES, ids=repr)
@pytest.mark.parametrize("size", range(2, 12))
def test_one_class_scores_1(space, size: int):
    """2R exceeds the list."""
    x = in_chart(torch.arange(float(size))[:, None] / size, space)
    scores = shrec(x, torch.zeros(size).long(), space=space)
    assert values(scores) == pytest.approx([1.0] * 26, abs=1e-12)


@pytest.mark.parametrize("space", SPACES, ids=repr)
@pytest.mark.parametrize("side", [2, 3, 5])
@pytest.mark.parametrize("classes", [1, 2, 7])
def test_grids_stay_within_0_and_1(space, side: int, classes: int):
    x = torch.cartesian_prod(*[torch.linspace(-0.5, 0.5, side)] * 2)
    x = in_chart(x, space)
    labels = torch.arange(len(x)) % classes
    if classes > len(x) // 2:
        labels[0] = labels[1]
    scores = values(shrec(x, labels, space=space))
    found = retrieval(x, labels, space=space, ks=KS, scores=ALL)
    for score in (*scores, *found.recall.values(), found.r_precision, found.map_at_r, found.mean_ap):
        assert -1e-12 <= score <= 1 + 1e-12
