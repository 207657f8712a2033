"""Trees above classes: hand-made cases, and paths walked node by node."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml.class_trees import ancestors, class_labels, soft_targets, tree_dist

# 0 and 1 below 4, 2 below 5, 4 and 5 below 6, 3 alone
FOREST = torch.tensor([4, 4, 5, -1, 6, 6, -1])


@st.composite
def forests(draw: st.DrawFn) -> torch.Tensor:
    """Classes first; each inner node has a child; ragged, with one root or several."""
    parents: list[int] = []
    level, start = draw(st.integers(1, 8)), 0
    while level:
        above = draw(st.integers(0, level))
        first = start + level
        own = [draw(st.integers(-1, above - 1)) for _ in range(level)]
        used = sorted({each for each in own if each >= 0})
        parents += [first + used.index(each) if each >= 0 else -1 for each in own]
        start, level = first, len(used) if len(parents) < 20 else 0
        if not level:
            parents = [each if each < start else -1 for each in parents]
    return torch.tensor(parents)


def walk(parents: list[int], node: int) -> list[int]:
    """The node and all above it."""
    path = [node]
    while parents[path[-1]] >= 0:
        path.append(parents[path[-1]])
    return path


def classes_of(parents: list[int]) -> int:
    return min((each for each in parents if each >= 0), default=len(parents))


def test_a_forest_by_hand():
    assert tree_dist(FOREST)[0].tolist() == [0, 2, 4, 4]
    assert tree_dist(FOREST)[3].tolist() == [4, 4, 4, 0]
    assert class_labels(FOREST).tolist() == [[6, 4, 0], [6, 4, 1], [6, 5, 2], [3, 3, 3]]
    assert tree_dist(torch.tensor([-1, -1])).tolist() == [[0, 2], [2, 0]]
    assert class_labels(torch.tensor([-1, -1])).tolist() == [[0], [1]]


@given(forests())
def test_paths_and_distances_are_those_of_a_walk(parents):
    listed = parents.tolist()
    paths = [walk(listed, node) for node in range(len(listed))]
    found = ancestors(parents)
    for path, row in zip(paths, found.tolist(), strict=True):
        assert row == (path[::-1] + [path[0]] * len(row))[: len(row)]
    count = classes_of(listed)
    dist = tree_dist(parents)
    assert dist.shape == (count, count)
    for i in range(count):
        for j in range(count):
            common = len(set(paths[i]) & set(paths[j]))
            assert dist[i, j] == (len(paths[i]) + len(paths[j]) - 2 * common)


@given(forests())
def test_the_finest_level_is_the_class_and_levels_are_nested(parents):
    levels = class_labels(parents)
    assert levels[:, -1].tolist() == list(range(len(levels)))
    same = levels.unsqueeze(0) == levels.unsqueeze(1)
    assert bool((same[..., :-1] | ~same[..., 1:]).all())  # one at a fine level is one at all coarser ones


def test_soft_targets_are_distributions_that_fall_with_the_distance():
    targets = soft_targets(tree_dist(FOREST), beta=4.0)
    torch.testing.assert_close(targets.sum(1), torch.ones(4))
    assert targets[0, 0] > targets[0, 1] > targets[0, 2]
    torch.testing.assert_close(targets[0, 0] / targets[0, 2], torch.tensor(4.0).exp())
    torch.testing.assert_close(soft_targets(tree_dist(FOREST), beta=1e4), torch.eye(4))


@pytest.mark.parametrize(
    ("parents", "message"),
    [
        ([], "parents is empty"),
        ([2, 2, 2], "cycle"),
        ([3, -1, 1, -1], "node 2 has no child and comes after node 1"),
        ([5, -1], "from -1 to 5"),
        ([-2, -1], "from -2 to -1"),
    ],
)
def test_what_is_no_tree_is_refused(parents, message):
    with pytest.raises(ValueError, match=message):
        ancestors(torch.tensor(parents, dtype=torch.int64))


def test_bad_soft_targets_are_refused():
    with pytest.raises(ValueError, match="not all 0"):
        soft_targets(torch.zeros(2, 2), beta=1.0)
    with pytest.raises(ValueError, match="beta = 0"):
        soft_targets(torch.ones(2, 2), beta=0.0)
    with pytest.raises(TypeError, match="integers"):
        tree_dist(torch.tensor([1.0, -1.0]))
