"""Scores of single queries: their means, by class too, and intervals that cover what they should."""

import pytest
import torch
from hypothesis import given

from geomdml.metrics import QueryScores, retrieval, retrieval_by_query
from tests.generators.rankings import Problem, problems

ALL = ("recall", "r_precision", "map_at_r", "mean_ap")


@given(problems(most=10))
def test_each_query_scores_as_if_it_were_alone(problem: Problem):
    arguments = problem.arguments()
    found = retrieval_by_query(**arguments, ks=(1, 3), scores=ALL)
    assert found.mean() == retrieval(**arguments, ks=(1, 3), scores=ALL)
    assert (found.index.diff() > 0).all()
    assert torch.equal(found.labels, arguments["labels"][found.index])
    if problem.gallery_labels is None:
        return
    for place, i in enumerate(found.index.tolist()):
        one = arguments | {"query": arguments["query"][i : i + 1], "labels": arguments["labels"][i : i + 1]}
        alone = retrieval(**one, ks=(1, 3), scores=ALL)
        assert alone.recall == {k: float(scores[place]) for k, scores in found.recall.items()}
        assert (alone.map_at_r, alone.mean_ap) == (float(found.map_at_r[place]), float(found.mean_ap[place]))


@given(problems(most=10))
def test_classes_weighted_with_their_queries_give_the_mean(problem: Problem):
    found = retrieval_by_query(**problem.arguments(), ks=(1,), scores=ALL)
    classes, mean = found.by_class(), found.mean()
    assert list(classes) == sorted(set(found.labels.tolist()))
    assert sum(one.queries for one in classes.values()) == mean.queries
    weighted = sum(one.queries * one.map_at_r for one in classes.values()) / mean.queries
    assert weighted == pytest.approx(mean.map_at_r, abs=1e-12)


def of(scores: torch.Tensor) -> QueryScores:
    zeros = torch.zeros(len(scores)).long()
    return QueryScores(zeros, zeros, {1: scores}, None, scores, None)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """100 draws of 300 queries that score 1 with probability 0.3: about 90 intervals of 90 % hold 0.3."""
    draw = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(100):
        low, high = of((torch.rand(300, generator=draw) < 0.3).double()).interval(0.9, resamples=300)
        assert low.recall[1] == low.map_at_r and high.recall[1] == high.map_at_r
        covered += low.map_at_r <= 0.3 <= high.map_at_r
    assert 80 <= covered <= 98


def test_intervals_widen_with_confidence_and_repeat_with_the_seed():
    scores = of(torch.rand(200, generator=torch.Generator().manual_seed(1)).double())
    (low, high), (lower, higher) = scores.interval(0.5), scores.interval(0.99)
    assert lower.map_at_r < low.map_at_r < scores.mean().map_at_r < high.map_at_r < higher.map_at_r
    assert scores.interval(0.5) == (low, high) != scores.interval(0.5, seed=1)
    constant = of(torch.full((50,), 0.25).double())
    assert constant.interval()[0].map_at_r == constant.interval()[1].map_at_r == 0.25


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence": 1.0}, "confidence = 1.0; expected a number between"),
        ({"resamples": 0}, "resamples = 0; expected at least"),
    ],
)
def test_a_mistake_is_named(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        of(torch.ones(3).double()).interval(**options)
