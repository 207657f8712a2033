"""Trees placed by construction: every node is nearer to its ancestors than to all other nodes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml.hierarchy import closure, nested_balls
from geomdml.spaces import Hyperbolic


@st.composite
def trees(draw: st.DrawFn, roots: int = 1) -> torch.Tensor:
    """Edges (child, parent) of trees with this many roots; every root has a child."""
    count = draw(st.integers(2 * roots, 24))
    above = [node - roots for node in range(roots, 2 * roots)]
    above += [draw(st.integers(0, node - 1)) for node in range(2 * roots, count)]
    names = draw(st.permutations(range(count)))
    return torch.tensor([[names[roots + place], names[parent]] for place, parent in enumerate(above)])


def assert_ancestors_are_nearest(edges: torch.Tensor, points: torch.Tensor, space: Hyperbolic) -> None:
    count = len(points)
    above = torch.zeros(count, count, dtype=torch.bool)
    above[tuple(closure(edges).T)] = True
    others = ~above & ~torch.eye(count, dtype=torch.bool)
    dist = space.pairwise_dist(points, points)
    farthest = dist.masked_fill(~above, 0.0).amax(1)
    nearest = dist.masked_fill(~others, torch.inf).amin(1)
    assert bool((farthest < nearest)[above.any(1)].all())


@given(trees(), st.integers(2, 12), st.floats(0.01, 100.0), st.integers(0, 3))
def test_ancestors_are_nearer_than_all_other_nodes(edges, dim, c, seed):
    points = nested_balls(edges, dim, c=c, seed=seed)
    assert points.dtype == torch.float64 and points.shape == (len(edges) + 1, dim)
    assert_ancestors_are_nearest(edges, points, Hyperbolic(c))
    assert torch.equal(points, nested_balls(edges, dim, c=c, seed=seed))
    assert not bool(points[torch.bincount(edges[:, 0], minlength=len(points)) == 0].any())  # the root


@given(trees(roots=3), st.integers(2, 5))
def test_several_roots_have_their_own_balls(edges, dim):
    assert_ancestors_are_nearest(edges, nested_balls(edges, dim), Hyperbolic(1.0))


@pytest.mark.parametrize("dim", [2, 5])
def test_many_children_are_packed_in_groups(dim):
    star = torch.stack([torch.arange(1, 1000), torch.zeros(999, dtype=torch.int64)], 1)
    assert_ancestors_are_nearest(star, nested_balls(star, dim), Hyperbolic(1.0))


def test_a_chain_of_any_length_is_finite():
    chain = torch.stack([torch.arange(1, 3000), torch.arange(2999)], 1)
    points = nested_balls(chain, 2)
    assert bool(points.isfinite().all())
    radii = points.norm(dim=1)
    assert bool((radii.diff() > 0).all())
    assert_ancestors_are_nearest(chain[:20], points[:21], Hyperbolic(1.0))


def test_a_node_with_several_parents_hangs_under_the_deepest():
    edges = torch.tensor([[1, 0], [2, 1], [3, 2], [4, 0], [5, 3], [5, 4]])
    assert torch.equal(nested_balls(edges, 3), nested_balls(edges[:5], 3))
    assert torch.equal(nested_balls(edges.flip(0), 3), nested_balls(edges, 3))


def test_nodes_in_no_edge_are_roots():
    points = nested_balls(torch.tensor([[1, 0]]), 3, count=4)
    assert len(points) == 4 and bool(points.norm(dim=1).gt(0).all())
    assert nested_balls(torch.empty(0, 2, dtype=torch.int64), 3, count=1).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 1}, "dim = 1; expected at least 2"),
        ({"dim": 2, "count": 2}, "count is 2; expected at least 3"),
        ({"dim": 2, "c": 0.0}, "c"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        nested_balls(torch.tensor([[1, 0], [2, 0]]), **options)
