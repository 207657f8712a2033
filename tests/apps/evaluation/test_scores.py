"""Scores by name in percent, and the spread of radii."""

import pytest
import torch

from apps.evaluation.scores import Collector, radius_spread, scores
from geomdml.spaces import Euclidean


def test_scores_of_two_clusters_and_a_stranger():
    x = torch.tensor([[0.0], [0.1], [0.2], [5.0], [5.1], [0.05]])
    found = scores(x, torch.tensor([0, 0, 0, 1, 1, 2]), Euclidean())
    assert tuple(found) == ("Recall@1", "Recall@2", "Recall@4", "Recall@8", "MAP@R", "R-precision")
    assert found["Recall@2"] == 100  # the stranger of class 2 is no query: it has no match
    assert found["Recall@1"] == pytest.approx(100 * 3.0 / 5)  # it stands between 0.0 and 0.1, nearer to both


def test_queries_search_the_gallery_and_not_each_other():
    query, gallery = torch.tensor([[0.0], [0.1], [9.0]]), torch.tensor([[0.05], [8.0], [1.0]])
    labels = torch.tensor([0, 1, 0, 1, 0, 0])  # the first two are nearest to 0.05, of class 1; the last to 8.0
    found = scores(torch.cat([query, gallery]), labels, Euclidean(), ks=(1, 3), queries=3)
    assert found["Recall@1"] == pytest.approx(200 / 3) and found["Recall@3"] == 100
    assert found["R-precision"] == pytest.approx(100 * (1 / 2 + 1 + 1) / 3)


def test_radius_spread():
    spread = radius_spread(torch.arange(101.0), clip=90.0)
    assert spread == pytest.approx({"p05": 5, "median": 50, "p95": 95, "clipped": 10 / 101})


def test_collector_forgets_what_was_taken():
    collector = Collector()
    collector.add(x=torch.ones(2, requires_grad=True))
    assert not collector.take()["x"].requires_grad
    assert collector.take() == {}
