"""Retrieval scores against their definitions, enumeration of all orders of ties, laws, and a peer."""

from collections.abc import Collection
from fractions import Fraction
from itertools import chain, pairwise, permutations, product
from math import comb
from statistics import fmean

import pytest
import torch
from hypothesis import given

from geomdml.metrics import RetrievalScores, retrieval, retrieval_by_query
from geomdml.metrics.ranking import sorting as by_sorting
from geomdml.spaces import Euclidean, Hyperbolic
from tests.generators.rankings import Problem, Table, problems, random_problem

KS = (1, 2, 3, 5, 100)
ALL = ("recall", "r_precision", "map_at_r", "mean_ap")
TIES = ("expected", "optimistic", "pessimistic", "index")


def scores_of(problem: Problem, *, scores: Collection = ALL, ks: Collection[int] = KS, **options) -> RetrievalScores:
    return retrieval(**problem.arguments(), ks=ks, scores=scores, **options)


def scores_of_order(relevance: list[bool]) -> list[Fraction]:
    """The definitions, for one ranked list: Recall@k for the KS, R-precision, MAP@R, mAP."""
    R = sum(relevance)
    precision = [Fraction(sum(relevance[: i + 1]), i + 1) for i in range(len(relevance))]
    precision_at_hits = [p * rel for p, rel in zip(precision, relevance, strict=True)]
    recall = [Fraction(any(relevance[:k])) for k in KS]
    return [*recall, precision[R - 1], sum(precision_at_hits[:R]) / R, sum(precision_at_hits) / Fraction(R)]


def scores_by_enumeration(blocks: list[list[bool]]) -> list[Fraction]:
    """The mean over every order of every block of ties."""
    orders = [list(chain(*order)) for order in product(*map(permutations, blocks))]
    return [sum(values) / Fraction(len(orders)) for values in zip(*map(scores_of_order, orders), strict=True)]


def scores_by_block(blocks: list[list[bool]]) -> list[Fraction]:
    """The expectation rank by rank (MATH.md section 7), for lists too long to enumerate."""
    R, size = sum(map(sum, blocks)), sum(map(len, blocks))
    hit, precision_at_hit, miss = [], [], {}
    N = H = 0
    for block in blocks:
        n, r = len(block), sum(block)
        for t in range(1, n + 1):
            hit.append(Fraction(r, n))
            others = Fraction((t - 1) * (r - 1), n - 1) if n > 1 else 0
            precision_at_hit.append(Fraction(r, n) * (1 + H + others) / (N + t))
            miss[N + t] = 0 if H else Fraction(comb(n - r, t), comb(n, t))
        N, H = N + n, H + r
    recall = [1 - miss[min(k, size)] for k in KS]
    return [*recall, sum(hit[:R]) / R, sum(precision_at_hit[:R]) / R, sum(precision_at_hit) / R]


def values(scores: RetrievalScores) -> list[float]:
    assert scores.recall is not None
    return [*scores.recall.values(), scores.r_precision, scores.map_at_r, scores.mean_ap]


def means(per_query: list[list[Fraction]]) -> list[float]:
    return [fmean(column) for column in zip(*per_query, strict=True)]


def close(expected):
    return pytest.approx(expected, rel=0, abs=1e-12)


# ---- the definitions


@given(problems(most=6))
def test_expected_scores_are_the_mean_over_all_orders_of_ties(problem: Problem):
    assert values(scores_of(problem)) == close(means([scores_by_enumeration(q) for q in problem.blocks()]))


@given(problems(most=6))
def test_expectation_by_block_is_expectation_by_enumeration(problem: Problem):
    assert all(scores_by_block(q) == scores_by_enumeration(q) for q in problem.blocks())


ORDER_IN_BLOCK = {
    "optimistic": lambda block: sorted(block, reverse=True),
    "pessimistic": sorted,
    "index": list,
}


@pytest.mark.parametrize("ties", ORDER_IN_BLOCK)
@given(problem=problems(most=12))
def test_other_tie_rules_are_an_order_within_each_block(ties: str, problem: Problem):
    orders = [list(chain(*map(ORDER_IN_BLOCK[ties], blocks))) for blocks in problem.blocks()]
    assert values(scores_of(problem, ties=ties)) == close(means([scores_of_order(order) for order in orders]))


@pytest.mark.parametrize("leave_one_out", [True, False])
@pytest.mark.parametrize("distances", [1, 3, 50, 10**6])
@pytest.mark.parametrize("classes", [2, 40])
def test_scores_of_long_lists(leave_one_out: bool, distances: int, classes: int):
    problem = random_problem(90, classes, distances, leave_one_out=leave_one_out)
    assert values(scores_of(problem)) == close(means([scores_by_block(q) for q in problem.blocks()]))


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("distances", [1, 4, 300])
def test_a_score_is_the_same_whatever_else_is_asked_for(ties, distances: int):
    """Without mAP only the nearest are sorted; a block of ties may go on behind them."""
    problem = random_problem(400, 150, distances)
    together = scores_of(problem, ties=ties)
    for k in KS:
        assert scores_of(problem, ties=ties, scores=("recall",), ks=(k,)).recall[k] == close(together.recall[k])
    for name in ("r_precision", "map_at_r", "mean_ap"):
        alone = scores_of(problem, ties=ties, scores=(name,))
        assert getattr(alone, name) == close(getattr(together, name))
        assert [alone.recall, alone.r_precision, alone.map_at_r, alone.mean_ap].count(None) == 3


# ---- known embeddings


def test_perfect_embeddings_score_1():
    labels = torch.arange(60) % 7
    embeddings = 100.0 * labels.unsqueeze(1) + torch.rand(60, 1, generator=torch.Generator().manual_seed(0))
    assert values(retrieval(embeddings, labels, ks=KS, scores=ALL)) == close([1.0] * 8)
    assert values(retrieval(embeddings.round(), labels, ks=KS, scores=ALL)) == close([1.0] * 8)


@pytest.mark.parametrize("m", [1, 2, 9])
def test_reversed_embeddings(m: int):
    """The m items of the other class come first, then the m relevant ones."""
    query = torch.tensor([[0.0], [1.0]])
    gallery = torch.cat([torch.linspace(0, 0.1, m), torch.linspace(1.0, 0.9, m)]).unsqueeze(1)
    gallery_labels = torch.tensor([1] * m + [0] * m)
    result = retrieval(query, torch.tensor([0, 1]), gallery, gallery_labels, ks=(1, m, m + 1), scores=ALL)
    assert result.recall == {1: 0.0, m: 0.0, m + 1: 1.0}
    assert (result.r_precision, result.map_at_r) == (0.0, 0.0)
    assert result.mean_ap == close(fmean(j / (m + j) for j in range(1, m + 1)))


def test_constant_embeddings_score_as_a_random_order():
    labels = torch.arange(3000) % 600  # R = 4 of n = 2999
    result = retrieval(torch.ones(3000, 3), labels, ks=(1, 8, 2995, 2996), scores=ALL)
    R, n = 4, 2999
    recall = {k: 1 - comb(n - R, k) / comb(n, k) for k in (1, 8, 2995, 2996)}
    assert result.recall == pytest.approx(recall, rel=0, abs=1e-10)
    assert result.r_precision == close(R / n)
    precisions = [(1 + (i - 1) * (R - 1) / (n - 1)) / i / n for i in range(1, n + 1)]
    assert result.map_at_r == close(sum(precisions[:R]))
    assert result.mean_ap == close(sum(precisions))


# ---- laws


@given(problems(most=12))
def test_bounds_and_orderings(problem: Problem):
    by_rule = {ties: values(scores_of(problem, ties=ties)) for ties in TIES}
    slack = 1e-12
    for *recall, r_precision, map_at_r, mean_ap in by_rule.values():
        assert all(-slack <= score <= 1 + slack for score in (*recall, r_precision, map_at_r, mean_ap))
        assert all(a <= b + slack for a, b in pairwise(recall))
        assert recall[-1] == 1.0
        assert map_at_r <= r_precision + slack
        assert map_at_r <= mean_ap + slack
    for rule in ("expected", "index"):
        lowest_to_highest = zip(by_rule["pessimistic"], by_rule[rule], by_rule["optimistic"], strict=True)
        assert all(low <= mid + slack and mid <= high + slack for low, mid, high in lowest_to_highest)


@pytest.mark.parametrize("space", [Euclidean(), Hyperbolic(0.5), Hyperbolic(1.0, chart="ball")], ids=repr)
class TestStorageOrder:
    """Neither the order of a gallery nor the shape of a matrix product may move a score."""

    draw = torch.Generator().manual_seed(1)
    embeddings = torch.randn(211, 129, generator=draw) / 30
    labels = torch.randint(30, (211,), generator=draw)
    order = torch.randperm(211, generator=draw)

    def test_permuted_gallery(self, space):
        gallery, gallery_labels = self.embeddings[50:].repeat(2, 1), self.labels[50:].repeat(2).roll(9)
        order = torch.randperm(len(gallery), generator=self.draw)
        query, labels = self.embeddings[:50], self.labels[:50]
        stored = retrieval(query, labels, gallery, gallery_labels, space=space, scores=ALL)
        permuted = retrieval(query, labels, gallery[order], gallery_labels[order], space=space, scores=ALL)
        assert permuted == stored

    def test_permuted_items_left_out_one_by_one(self, space):
        stored = retrieval(self.embeddings, self.labels, space=space, scores=ALL)
        permuted = retrieval(self.embeddings[self.order], self.labels[self.order], space=space, scores=ALL)
        assert permuted == stored

    @pytest.mark.parametrize(("ties", "score"), [("expected", 0.5), ("optimistic", 1.0), ("pessimistic", 0.0)])
    def test_equal_embeddings_tie(self, space, ties, score: float):
        """Each item of the gallery is there twice, once of each class: whichever is nearest, it is a tie."""
        gallery = self.embeddings[50:].repeat(2, 1)
        gallery_labels = torch.arange(2).repeat_interleave(len(gallery) // 2)
        query, labels = self.embeddings[:50], torch.arange(50) % 2
        assert retrieval(query, labels, gallery, gallery_labels, space=space, ties=ties).recall[1] == close(score)


@pytest.mark.parametrize("ties", TIES)
def test_blocks_of_queries_change_nothing_and_bound_memory(ties):
    problem = random_problem(60, 25, 12)
    at_once = scores_of(problem, ties=ties)
    for rows in (1, 7):
        space = Table(problem.table)
        numbers = torch.arange(60.0).unsqueeze(1)
        labels = torch.tensor(problem.labels)
        limit = rows * by_sorting.BYTES * (60 + 2 * 60)
        assert retrieval(numbers, labels, space=space, ks=KS, scores=ALL, ties=ties, memory_limit=limit) == at_once
        assert space.largest_block <= limit / by_sorting.BYTES


# ---- who is left out


def test_a_query_is_left_out_by_identity_not_by_distance():
    """Two equal embeddings of different classes: each finds the other, and a third, of its own class, only then."""
    embeddings = torch.tensor([[0.0], [0.0], [1.0], [1.0]])
    labels = torch.tensor([0, 1, 0, 1])
    result = retrieval(embeddings, labels, ks=(1, 2, 3), ties="pessimistic", scores=ALL)
    assert result.recall == {1: 0.0, 2: 0.0, 3: 1.0}
    assert result.mean_ap == close(1 / 3)
    twins = retrieval(torch.zeros(2, 1), torch.tensor([5, 5]))
    assert twins.recall[1] == 1.0


def test_a_query_that_is_also_in_a_separate_gallery_finds_itself():
    x, labels = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([0, 1, 2])
    assert retrieval(x, labels, x, labels).map_at_r == close(1.0)


def test_queries_without_a_relevant_item_are_left_out_and_not_counted():
    embeddings, labels = torch.tensor([[0.0], [1.0], [9.0], [8.5]]), torch.tensor([0, 0, 1, 2])
    result = retrieval(embeddings, labels, scores=ALL)
    assert result.queries == 2
    assert values(result) == close([1.0] * 7)
    separate = retrieval(embeddings, labels, embeddings[:1], labels[:1])
    assert (separate.queries, separate.recall[1]) == (2, 1.0)


# ---- numbers of every kind


@pytest.mark.parametrize("low", [0, 2**24, 2**53, -(2**63), 2**63 - 2])
def test_labels_are_compared_as_integers(low: int):
    query, gallery = torch.zeros(1, 1), torch.tensor([[0.0], [1.0]])
    result = retrieval(query, torch.tensor([low]), gallery, torch.tensor([low + 1, low]), ks=(1, 2))
    assert result.recall == {1: 0.0, 2: 1.0}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_labels_of_any_integer_dtype(dtype: torch.dtype):
    embeddings, labels = torch.tensor([[0.0], [1.0], [5.0], [6.0]]), torch.tensor([0, 0, 1, 1])
    assert retrieval(embeddings, labels.to(dtype), embeddings, labels) == retrieval(
        embeddings, labels, embeddings, labels
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_float32_on_the_rounded_embeddings(dtype: torch.dtype):
    draw = torch.Generator().manual_seed(2)
    embeddings = torch.randn(80, 5, generator=draw).to(dtype)
    labels = torch.randint(6, (80,), generator=draw)
    assert retrieval(embeddings, labels, scores=ALL) == retrieval(embeddings.float(), labels, scores=ALL)


def test_float64_tells_apart_what_float32_cannot():
    query, gallery = torch.zeros(1, 1).double(), torch.tensor([[1.0 + 1e-12], [1.0]], dtype=torch.float64)
    labels, gallery_labels = torch.tensor([0]), torch.tensor([1, 0])
    assert retrieval(query, labels, gallery, gallery_labels).recall[1] == 1.0
    assert retrieval(query.float(), labels, gallery.float(), gallery_labels).recall[1] == close(0.5)


def test_embeddings_with_gradient():
    embeddings = torch.tensor([[0.0], [1.0]], requires_grad=True)
    assert retrieval(embeddings, torch.tensor([0, 0]), space=Hyperbolic(1.0, learnable=True)).recall[1] == 1.0


@pytest.mark.parametrize("space", [Euclidean(), Hyperbolic(), Table(torch.ones(9, 9))], ids=["E", "H", "table"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_are_left_as_they_were(space, dtype):
    embeddings, labels = torch.rand(9, 1, dtype=dtype), torch.arange(9) % 2
    before = embeddings.clone(), labels.clone()
    retrieval(embeddings, labels, space=space, scores=ALL)
    retrieval(embeddings, labels, embeddings, labels, space=space, scores=ALL)
    assert torch.equal(embeddings, before[0])
    assert torch.equal(labels, before[1])


# ---- mistakes


X, Y = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([0, 0, 1])


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X * torch.nan, Y), {}, ValueError, "query has 3 entries that are NaN or infinite"),
        ((X, Y, X / 0, Y), {}, ValueError, "gallery has 3 entries that are NaN or infinite"),
        ((X, Y), {"space": Table(torch.full((3, 3), torch.nan))}, ValueError, "distances that are NaN or infinite"),
        ((X, torch.arange(3)), {}, ValueError, "no query has a relevant item"),
        ((X, Y, X, Y + 7), {}, ValueError, "no query has a relevant item"),
        ((X[:1], Y[:1]), {}, ValueError, "no query has a relevant item"),
        ((X[:0], Y[:0]), {}, ValueError, "no query has a relevant item"),
        ((X, Y, X[:0], Y[:0]), {}, ValueError, "no query has a relevant item"),
        ((X, Y[:2]), {}, ValueError, r"labels has shape \(2,\); expected \(3,\)"),
        ((X, Y, X, Y[:, None]), {}, ValueError, r"gallery_labels has shape \(3, 1\); expected \(3,\)"),
        ((X, Y, X), {}, ValueError, "gallery and gallery_labels go together"),
        ((X, Y, None, Y), {}, ValueError, "gallery and gallery_labels go together"),
        ((X, Y, X.repeat(1, 2), Y), {}, ValueError, r"last dimensions differ: query \(3, 1\), gallery \(3, 2\)"),
        ((X[:, 0], Y), {}, ValueError, r"query has shape \(3,\)"),
        ((X, Y.float()), {}, TypeError, "labels has dtype torch.float32; expected integers"),
        ((X, [0, 0, 1]), {}, TypeError, "labels is a list"),
        ((X.long(), Y), {}, TypeError, "query has dtype torch.int64"),
        ((X, Y), {"ties": "random"}, ValueError, "ties = 'random'; expected one of 'expected', 'optimistic'"),
        (
            (X, Y),
            {"scores": ("recall", "map")},
            ValueError,
            "expected a tuple of one or more of 'recall', 'r_precision'",
        ),
        ((X, Y), {"scores": "recall"}, ValueError, "scores = 'recall'; expected a tuple"),
        ((X, Y), {"scores": ()}, ValueError, "scores = "),
        ((X, Y), {"ks": (1, 0)}, ValueError, "ks = 0; expected at least 1"),
        ((X, Y), {"ks": ()}, ValueError, "expected one or more integers"),
        ((X, Y), {"ks": (1.0,)}, TypeError, "ks is a float; expected an integer"),
        ((X, Y), {"memory_limit": 0}, ValueError, "memory_limit = 0; expected a number of bytes above 0"),
        ((X, Y), {"memory_limit": 99, "space": Table(torch.ones(3, 3))}, ValueError, "one query against 3 items takes"),
    ],
)
def test_a_mistake_is_named(arguments: tuple, options: dict, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        retrieval(*arguments, **options)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@given(problems(most=6))
def test_a_matrix_of_relevance_scores_as_the_classes_it_says(problem):
    arguments = problem.arguments()
    labels, gallery_labels = arguments["labels"], arguments.pop("gallery_labels", None)
    matrix = labels[:, None] == (labels if gallery_labels is None else gallery_labels)
    if not problem.blocks():
        return
    wanted = scores_of(problem)
    for relevance in (matrix, matrix.float().to_sparse_coo(), 2 * matrix.double().to_sparse_csr()):
        assert retrieval(**arguments | {"labels": relevance}, ks=KS, scores=ALL) == wanted


def test_relevance_need_not_be_symmetric_and_has_no_classes():
    points = torch.tensor([[0.0], [1.0], [2.0], [4.0]])
    relevance = torch.tensor([[1, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
    found = retrieval_by_query(points, relevance, scores=("mean_ap",))
    assert found.index.tolist() == [0, 1]  # one has no relevant item, one only itself
    assert found.mean_ap.tolist() == pytest.approx([1 / 3, 3 / 4])  # the last of three; one of two that tie
    with pytest.raises(ValueError, match="by_class needs classes"):
        found.by_class()


def test_a_matrix_that_fits_nothing_is_refused():
    points = torch.randn(3, 2)
    with pytest.raises(ValueError, match=r"labels has shape \(3, 2\); expected classes \(Q,\), or relevance \(3, 3\)"):
        retrieval(points, torch.ones(3, 2))
    with pytest.raises(ValueError, match="expected one or the other"):
        retrieval(points, torch.ones(3, 3), points, torch.arange(3))
    with pytest.raises(ValueError, match="NaN or infinite"):
        retrieval(points, torch.full((3, 3), torch.nan))
    with pytest.raises(ValueError, match="no query has a relevant item"):
        retrieval(points, torch.eye(3))


@given(problems(most=6))
def test_long_lists_are_compared_rather_than_sorted_with_the_same_scores(problem):
    if not problem.blocks():
        return
    for ties in TIES:
        wanted = scores_of(problem, ties=ties)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(by_sorting, "_LONG", 1)
            assert scores_of(problem, ties=ties) == wanted
