"""Scores on trees against their definitions, item by item."""

import math
from fractions import Fraction
from statistics import fmean

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml.class_trees import class_labels, tree_dist
from geomdml.metrics import (
    distance_correlation,
    hierarchical_retrieval,
    radius_correlation,
    retrieval,
    tree_correlation,
)
from geomdml.spaces import Hyperbolic
from tests.generators.rankings import Table
from tests.geomdml.test_class_trees import FOREST, forests


@st.composite
def problems(draw: st.DrawFn):
    """A tree, the classes of some items, and a symmetric table of their distances, with many ties."""
    parents = draw(forests())
    classes = len(class_labels(parents))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=2, max_size=7))
    size = len(labels)
    drawn = draw(st.lists(st.integers(0, 4), min_size=size * size, max_size=size * size))
    table = torch.tensor(drawn, dtype=torch.float32).view(size, size)
    return parents, labels, table + table.T


def by_definition(parents, labels, table, queries=None) -> tuple[list[Fraction], float, float | None]:
    """H-AP of the queries that have any relevant item, severity, and severity of mistakes."""
    levels, apart = class_labels(parents).tolist(), tree_dist(parents).tolist()
    count = len(levels[0])
    precisions, steps, wrong = [], [], []
    for i, own in enumerate(labels[:queries]):
        items = [j for j in range(len(labels)) if j != i]
        shared = {j: sum(a == b for a, b in zip(levels[own], levels[labels[j]], strict=True)) for j in items}
        sizes = [sum(s == number for s in shared.values()) for number in range(count + 1)]
        rel = {j: Fraction(s, count * sizes[s]) if s else Fraction(0) for j, s in shared.items()}
        d = {j: table[i][j].item() for j in items}
        terms = []
        for k in items:
            upto = [j for j in items if d[j] <= d[k]]
            terms.append(sum(min(rel[j], rel[k]) for j in upto) / len(upto) if rel[k] else Fraction(0))
        if sum(rel.values()):
            precisions.append(sum(terms) / sum(rel.values()))
        nearest = [j for j in items if d[j] == min(d.values())]
        steps.append(fmean(apart[own][labels[j]] for j in nearest))
        wrong.append(fmean(labels[j] != own for j in nearest))
    return precisions, fmean(steps), sum(steps) / sum(wrong) if sum(wrong) else None


@given(problems())
def test_scores_are_their_definitions(problem):
    parents, labels, table = problem
    query = torch.arange(float(len(labels))).unsqueeze(1)
    found = hierarchical_retrieval(query, torch.tensor(labels), parents, space=Table(table))
    precisions, severity, mistakes = by_definition(parents, labels, table)
    assert found.severity == pytest.approx(severity)
    assert found.mistake_severity == (None if mistakes is None else pytest.approx(mistakes))
    assert found.hierarchical_ap == (pytest.approx(float(fmean(precisions))) if precisions else None)


def test_one_query_at_a_time_is_all_at_once():
    draw = torch.Generator().manual_seed(0)
    x, labels = torch.randn(40, 3, generator=draw), torch.randint(4, (40,), generator=draw)
    small = hierarchical_retrieval(x, labels, FOREST, space=Hyperbolic(c=1.0), memory_limit=20_000)
    assert small == hierarchical_retrieval(x, labels, FOREST, space=Hyperbolic(c=1.0))
    with pytest.raises(ValueError, match="too little"):
        hierarchical_retrieval(x, labels, FOREST, memory_limit=100)


def test_recall_of_each_level_is_that_of_its_labels():
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(60) % 4
    found = hierarchical_retrieval(x, labels, FOREST, ks=(1, 3))
    for level, recall in zip(class_labels(FOREST).unbind(1), found.recall, strict=True):
        assert recall == retrieval(x, level[labels], ks=(1, 3)).recall


@given(problems(), st.data())
def test_a_gallery_is_searched_as_by_definition(problem, draw):
    """Its items stand behind the queries in the table, of which no query is left out."""
    parents, labels, table = problem
    queries = draw.draw(st.integers(1, len(labels) - 1))
    points, classes = torch.arange(float(len(labels))).unsqueeze(1), torch.tensor(labels)
    found = hierarchical_retrieval(
        points[:queries],
        classes[:queries],
        parents,
        gallery=points[queries:],
        gallery_labels=classes[queries:],
        space=Table(table),
    )
    alone = []
    for i in range(queries):
        own = [i, *range(queries, len(labels))]
        precisions, steps, _ = by_definition(parents, [labels[j] for j in own], table[own][:, own], queries=1)
        alone.append((precisions, steps))
    precisions = [value for each, _ in alone for value in each]
    assert found.severity == pytest.approx(fmean(steps for _, steps in alone))
    assert found.hierarchical_ap == (pytest.approx(float(fmean(precisions))) if precisions else None)


def test_recall_in_a_gallery_is_that_of_each_levels_labels():
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(60) % 4
    found = hierarchical_retrieval(x[:20], labels[:20], FOREST, gallery=x[20:], gallery_labels=labels[20:], ks=(1, 3))
    for level, recall in zip(class_labels(FOREST).unbind(1), found.recall, strict=True):
        own = level[labels]
        assert recall == retrieval(x[:20], own[:20], x[20:], own[20:], ks=(1, 3)).recall
    apart = hierarchical_retrieval(
        x[:4], torch.zeros(4).long(), torch.tensor([-1, -1]), gallery=x[4:8], gallery_labels=torch.ones(4).long()
    )
    assert apart == ((None,), None, 2.0, 2.0)


def test_a_flat_tree_is_the_average_precision():
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(2))
    labels, flat = torch.arange(30) % 3, torch.tensor([-1, -1, -1])
    found = hierarchical_retrieval(x, labels, flat)
    assert found.hierarchical_ap == pytest.approx(retrieval(x, labels, scores=("mean_ap",)).mean_ap)


def test_embeddings_of_the_tree_itself_are_perfect():
    """Coordinates of which each is a level: the nearest share most."""
    labels = torch.arange(20) % 4
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [5.0, 0.0], [100.0, 0.0]])[labels]
    found = hierarchical_retrieval(x, labels, FOREST)
    assert found == (({1: 1.0},) * 3, pytest.approx(1.0), 0.0, None)


def test_distances_that_follow_the_tree_correlate_perfectly():
    tree = torch.tensor([4, 4, 5, 5, 6, 6, -1])
    x = torch.nn.functional.one_hot(class_labels(tree), 7).flatten(1).float()  # far by the levels that differ
    assert distance_correlation(x, torch.arange(4), tree) == pytest.approx(1.0)
    assert distance_correlation(torch.tensor([[0.0], [9.0], [1.0], [10.0]]), torch.arange(4), tree) < 0


def test_pairs_are_measured_in_blocks(monkeypatch):
    x, labels = torch.randn(9, 3, generator=torch.Generator().manual_seed(0)), torch.arange(9) % 4
    whole = distance_correlation(x, labels, FOREST, pairs=50)
    monkeypatch.setattr(tree_correlation, "_NUMBERS", 12)
    assert distance_correlation(x, labels, FOREST, pairs=50) == whole


def test_correlations_by_hand():
    x, labels = torch.tensor([[0.0], [1.0], [5.0]]), torch.arange(3)
    assert distance_correlation(x, labels, torch.tensor([3, 3, 4, 5, 5, -1])) > 0.8
    assert math.isnan(distance_correlation(x, labels, torch.tensor([-1, -1, -1])))
    tree = torch.tensor([3, 3, 4, 5, 5, -1])
    assert radius_correlation(torch.tensor([3.0, 3.0, 3.0, 2.0, 2.0, 1.0]), tree) == pytest.approx(1.0)
    assert radius_correlation(torch.tensor([1.0, 1.0, 1.0, 2.0, 2.0, 3.0]), tree) == pytest.approx(-1.0)
    assert math.isnan(radius_correlation(torch.ones(6), tree))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(1, 2), torch.tensor([0]), FOREST), "at least 2"),
        ((torch.zeros(2, 2), torch.tensor([0, 4]), FOREST), "labels go from 0 to 4"),
        ((torch.tensor([[math.nan], [0.0]]), torch.tensor([0, 1]), FOREST), "query"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        hierarchical_retrieval(*arguments)


@pytest.mark.parametrize(
    ("gallery", "labels", "message"),
    [
        (torch.zeros(1, 2), None, "go together"),
        (None, torch.zeros(1).long(), "go together"),
        (torch.zeros(1, 3), torch.zeros(1).long(), "last dimensions differ"),
        (torch.zeros(0, 2), torch.zeros(0).long(), "gallery has 0 embeddings; expected at least 1"),
        (torch.zeros(1, 2), torch.tensor([4]), "gallery_labels go from 4 to 4"),
    ],
)
def test_a_gallery_that_does_not_fit_is_refused(gallery, labels, message):
    with pytest.raises(ValueError, match=message):
        hierarchical_retrieval(torch.zeros(1, 2), torch.zeros(1).long(), FOREST, gallery=gallery, gallery_labels=labels)


def test_bad_input_of_the_correlations_is_refused():
    with pytest.raises(ValueError, match="at least two classes"):
        distance_correlation(torch.zeros(3, 1), torch.zeros(3).long(), FOREST)
    with pytest.raises(ValueError, match=r"radii has shape \(2,\)"):
        radius_correlation(torch.zeros(2), FOREST)
