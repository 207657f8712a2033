"""SHREC scores against their definitions, by enumeration of all orders of ties, and known cases."""

from fractions import Fraction
from importlib import import_module
from itertools import accumulate, chain, permutations, product
from math import ceil, comb, log2
from statistics import fmean

import pytest
import torch
from hypothesis import given

from geomdml.metrics import ShrecScores, retrieval, shrec
from geomdml.metrics.ranking import sorting as by_sorting
from geomdml.spaces import Euclidean, Hyperbolic
from tests.generators.rankings import Problem, Table, problems, random_problem

module = import_module("geomdml.metrics.shrec")  # the function of that name hides the module in the package
LEVELS = [Fraction(level, 20) for level in range(1, 21)]


def scores_of_order(relevance: list[bool]) -> list[float]:
    """The definitions of MATH.md section 7 for one ranked list: NN, FT, ST, E, DCG, mAP, precision at 20 levels."""
    n, R = len(relevance), sum(relevance)
    ranks = [i for i, rel in enumerate(relevance, 1) if rel]
    page = min(32, n)
    gain = sum(1.0 if i == 1 else 1 / log2(i) for i in ranks)
    ideal = 1 + sum(1 / log2(i) for i in range(2, R + 1))
    found = list(accumulate(relevance))
    precision = {i: hits / i for i, hits in enumerate(found, 1)}
    curve = [precision[1 + next(i for i, hits in enumerate(found) if hits >= level * R)] for level in LEVELS]
    return [
        float(relevance[0]),
        sum(relevance[:R]) / R,
        sum(relevance[: min(2 * R, n)]) / R,
        2 * sum(relevance[:page]) / (page + R),
        gain / ideal,
        sum(precision[i] for i in ranks) / R,
        *curve,
    ]


def scores_by_enumeration(blocks: list[list[bool]]) -> list[float]:
    """The mean over every order of every block of ties."""
    orders = [list(chain(*order)) for order in product(*map(permutations, blocks))]
    return [fmean(column) for column in zip(*map(scores_of_order, orders), strict=True)]


def scores_by_block(blocks: list[list[bool]]) -> list[float]:
    """The expectations rank by rank, for lists too long to enumerate."""
    n, R = sum(map(len, blocks)), sum(map(sum, blocks))
    hit, precision, reciprocal = [], [], {}  # by rank; E[1/rank] by number of the relevant item
    N = H = 0
    for block in blocks:
        m, r = len(block), sum(block)
        for t in range(1, m + 1):
            hit.append(Fraction(r, m))
            precision.append(Fraction(r, m) * (1 + H + (Fraction((t - 1) * (r - 1), m - 1) if m > 1 else 0)) / (N + t))
        for j in range(1, r + 1):
            places = range(j, m - r + j + 1)
            share = {t: Fraction(comb(t - 1, j - 1) * comb(m - t, r - j), comb(m, r)) for t in places}
            assert sum(share.values()) == 1
            reciprocal[H + j] = sum(p / (N + t) for t, p in share.items())
        N, H = N + m, H + r
    page = min(32, n)
    gain = sum(float(p) / max(1.0, log2(i)) for i, p in enumerate(hit, 1))
    ideal = sum(1 / max(1.0, log2(i)) for i in range(1, R + 1))
    return [
        float(hit[0]),
        float(sum(hit[:R]) / R),
        float(sum(hit[: 2 * R]) / R),
        float(2 * sum(hit[:page]) / (page + R)),
        gain / ideal,
        float(sum(precision) / R),
        *(float(ceil(level * R) * reciprocal[ceil(level * R)]) for level in LEVELS),
    ]


def values(scores: ShrecScores) -> list[float]:
    return [scores.nn, scores.ft, scores.st, scores.e, scores.dcg, scores.mean_ap, *scores.precision]


def means(per_query: list[list[float]]) -> list[float]:
    return [fmean(column) for column in zip(*per_query, strict=True)]


def close(expected, tolerance: float = 1e-12):
    return pytest.approx(expected, rel=0, abs=tolerance)


# ---- the definitions


@given(problems(most=6))
def test_scores_are_the_mean_over_all_orders_of_ties(problem: Problem):
    scores = shrec(**problem.arguments())
    assert values(scores) == close(means([scores_by_enumeration(q) for q in problem.blocks()]))
    assert scores.queries == len(problem.blocks())
    assert scores.recall == tuple(map(float, LEVELS))


@given(problems(most=6))
def test_expectation_by_block_is_expectation_by_enumeration(problem: Problem):
    for blocks in problem.blocks():
        assert scores_by_block(blocks) == close(scores_by_enumeration(blocks))


@pytest.mark.parametrize("leave_one_out", [True, False])
@pytest.mark.parametrize("distances", [1, 3, 50, 10**6])
@pytest.mark.parametrize("classes", [1, 2, 40])
@pytest.mark.parametrize("size", [25, 90])
def test_lists_shorter_and_longer_than_a_page(leave_one_out: bool, distances: int, classes: int, size: int):
    """25 items are fewer than the 32 of the E-measure; of 40 classes some have R = 1, some no relevant item."""
    problem = random_problem(size, classes, distances, leave_one_out=leave_one_out)
    scores = shrec(**problem.arguments())
    assert values(scores) == close(means([scores_by_block(q) for q in problem.blocks()]), 1e-11)


def test_one_relevant_item():
    """R = 1 at rank 3 of 4: the curve is 1/3 at every level of recall."""
    gallery, gallery_labels = torch.tensor([[1.0], [2.0], [3.0], [4.0]]), torch.tensor([1, 2, 0, 3])
    scores = shrec(torch.zeros(1, 1), torch.tensor([0]), gallery, gallery_labels)
    assert values(scores) == close([0, 0, 0, 2 / 5, 1 / log2(3), *[1 / 3] * 21])


def test_a_list_by_hand():
    """Hits at ranks 1, 3, 4 and 40 of 50."""
    hits = [1, 3, 4, 40]
    gallery = torch.arange(1.0, 51.0).unsqueeze(1)
    gallery_labels = torch.tensor([0 if i in hits else i for i in range(1, 51)])
    scores = shrec(torch.zeros(1, 1), torch.tensor([0]), gallery, gallery_labels)
    dcg = (1 + 1 / log2(3) + 1 / 2 + 1 / log2(40)) / (1 + 1 + 1 / log2(3) + 1 / 2)
    mean_ap = (1 + 2 / 3 + 3 / 4 + 4 / 40) / 4
    curve = [1.0] * 5 + [2 / 3] * 5 + [3 / 4] * 5 + [4 / 40] * 5
    assert values(scores) == close([1, 3 / 4, 3 / 4, 2 * 3 / (32 + 4), dcg, mean_ap, *curve])


# ---- laws


def test_perfect_embeddings_score_1_but_for_the_page():
    labels = torch.arange(60) % 3  # R = 19
    embeddings = 100.0 * labels.unsqueeze(1) + torch.rand(60, 1, generator=torch.Generator().manual_seed(0))
    scores = shrec(embeddings, labels)
    assert values(scores._replace(e=1.0)) == close([1.0] * 26)
    assert scores.e == close(2 * 19 / (32 + 19))


@given(problems(most=12))
def test_bounds_and_agreement_with_retrieval(problem: Problem):
    scores = shrec(**problem.arguments())
    others = retrieval(**problem.arguments(), ks=(1,), scores=("recall", "r_precision", "mean_ap"))
    assert all(-1e-12 <= value <= 1 + 1e-12 for value in values(scores))
    assert (scores.nn, scores.ft, scores.mean_ap) == close((others.recall[1], others.r_precision, others.mean_ap))
    assert scores.ft <= scores.st + 1e-12
    assert scores.queries == others.queries


@pytest.mark.parametrize("space", [None, Hyperbolic(0.5), Hyperbolic(1.0, chart="ball")], ids=repr)
def test_storage_order_moves_no_score(space):
    draw = torch.Generator().manual_seed(1)
    embeddings, labels = torch.randn(97, 33, generator=draw) / 30, torch.randint(9, (97,), generator=draw)
    gallery, gallery_labels = embeddings.repeat(2, 1), labels.repeat(2).roll(9)
    order = torch.randperm(len(gallery), generator=draw)
    stored = shrec(embeddings, labels, gallery, gallery_labels, space=space)
    assert shrec(embeddings, labels, gallery[order], gallery_labels[order], space=space) == stored
    assert shrec(embeddings.flip(0), labels.flip(0), space=space) == shrec(embeddings, labels, space=space)


def test_constant_embeddings_score_as_a_random_order():
    """All 3,000 items tie: the curve's k-th relevant item is anywhere."""
    labels = torch.arange(3000) % 600  # R = 4 of n = 2999
    scores = shrec(torch.ones(3000, 3), labels)
    R, n = 4, 2999
    single = [R / n, R / n, 2 * R / n, 2 * 32 * R / n / (32 + R)]
    assert values(scores)[:4] == close(single)
    first = R * sum(comb(n - t, R - 1) / comb(n, R) / t for t in range(1, n - R + 2)) / R
    assert scores.precision[:5] == close([first] * 5, 1e-9)


@pytest.mark.parametrize("rows", [1, 7])
def test_blocks_of_queries_change_nothing_and_bound_memory(monkeypatch: pytest.MonkeyPatch, rows: int):
    problem = random_problem(60, 25, 12)
    at_once = shrec(**problem.arguments())
    monkeypatch.setattr(module, "_PLACES", 1)
    arguments = problem.arguments()
    limit = rows * by_sorting.BYTES * (60 + 2 * 60)
    assert values(shrec(**arguments, memory_limit=limit)) == close(values(at_once))
    assert arguments["space"].largest_block <= limit / by_sorting.BYTES


# ---- who is left out


def test_a_query_is_left_out_by_identity():
    """Two equal embeddings of different classes, with one of its own class further away for each."""
    embeddings, labels = torch.tensor([[0.0], [0.0], [1.0], [1.0]]), torch.tensor([0, 1, 0, 1])
    scores = shrec(embeddings, labels)
    assert (scores.nn, scores.queries) == (0.0, 4)
    assert shrec(torch.zeros(2, 1), torch.tensor([5, 5])).nn == 1.0


def test_queries_without_a_relevant_item_are_left_out_and_counted():
    embeddings, labels = torch.tensor([[0.0], [1.0], [9.0], [8.5]]), torch.tensor([0, 0, 1, 2])
    scores = shrec(embeddings, labels)
    assert (scores.queries, scores.nn, scores.precision) == (2, 1.0, (1.0,) * 20)
    with pytest.raises(ValueError, match="no query has a relevant item"):
        shrec(embeddings, torch.arange(4))


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, "gallery and gallery_labels go together", {"gallery": torch.zeros(1, 2)}),
        (ValueError, r"labels has shape \(3,\); expected \(2,\)", {"labels": torch.zeros(3).long()}),
        (TypeError, "labels has dtype torch.float32", {"labels": torch.zeros(2)}),
        (ValueError, "query has 4 entries that are NaN", {"query": torch.full((2, 2), torch.nan)}),
        (ValueError, "distances that are NaN", {"space": Table(torch.full((2, 2), torch.nan))}),
    ],
)
def test_a_mistake_is_named(error: type[Exception], message: str, arguments: dict):
    with pytest.raises(error, match=message):
        shrec(**{"query": torch.zeros(2, 2), "labels": torch.zeros(2).long(), "space": Euclidean()} | arguments)
