"""The scores of taxonomies and trees: exact answers, brute force by the definitions, laws."""

from fractions import Fraction
from itertools import combinations, pairwise, permutations, product

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.cluster import hierarchy as scipy_hierarchy
from scipy.sparse.csgraph import shortest_path

from geomdml import hierarchy
from geomdml.spaces import Euclidean, Hyperbolic
from geomdml.tangent import lca_depth

SPACES = [Euclidean(), Hyperbolic(1.0), Hyperbolic(0.3, chart="ball"), Hyperbolic(2.0, chart="lorentz")]


@st.composite
def taxonomies(draw: st.DrawFn, most: int = 9) -> torch.Tensor:
    """Edges (child, parent) of a directed graph without cycles, under names in any order."""
    count = draw(st.integers(2, most))
    pairs = st.tuples(st.integers(1, count - 1), st.integers(0, count - 2)).filter(lambda edge: edge[0] > edge[1])
    edges = draw(st.lists(pairs, min_size=1, max_size=2 * count))
    names = draw(st.permutations(range(count)))
    return torch.tensor([[names[child], names[parent]] for child, parent in edges])


def ancestors(edges: list[list[int]]) -> set[tuple[int, int]]:
    """By joining pairs until nothing is added."""
    found = {(child, parent) for child, parent in edges}
    while True:
        more = found | {(a, d) for (a, b), (c, d) in product(found, found) if b == c}
        if more == found:
            return found
        found = more


@given(taxonomies())
def test_the_closure_holds_every_ancestor_once_and_in_order(edges):
    found = hierarchy.closure(edges).tolist()
    assert found == sorted(map(list, ancestors(edges.tolist())))
    again = hierarchy.closure(torch.tensor(found))
    assert again.tolist() == found  # of the closure it is the closure


def test_the_closure_of_a_chain_and_of_large_names():
    chain = torch.stack([torch.arange(1, 60), torch.arange(59)], 1)
    assert len(hierarchy.closure(chain)) == 60 * 59 // 2
    assert hierarchy.closure(torch.tensor([[10**15, 3]])).tolist() == [[10**15, 3]]
    assert hierarchy.closure(torch.empty(0, 2, dtype=torch.int64)).shape == (0, 2)


def test_cycles_are_named_and_too_much_is_refused():
    with pytest.raises(ValueError, match=r"edges hold a cycle, (5 → 7 → 9 → 5|7 → 9 → 5 → 7|9 → 5 → 7 → 9);"):
        hierarchy.closure(torch.tensor([[5, 7], [7, 9], [9, 5], [1, 5], [9, 2]]))
    with pytest.raises(ValueError, match="edges hold a cycle, 4 → 4;"):
        hierarchy.closure(torch.tensor([[1, 4], [4, 4]]))
    chain = torch.stack([torch.arange(1, 60), torch.arange(59)], 1)
    with pytest.raises(ValueError, match="more than 1,000 pairs"):
        hierarchy.closure(chain, most=1000)
    with pytest.raises(TypeError, match="float32"):
        hierarchy.closure(torch.ones(2, 2))
    with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
        hierarchy.closure(torch.ones(2, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="a node -1"):
        hierarchy.closure(torch.tensor([[0, -1]]))


def by_enumeration(dist: torch.Tensor, pairs: list[tuple[int, int]]) -> tuple[Fraction, Fraction]:
    """Mean rank and MAP as the mean over every order of the nodes that sorts their distances."""
    ranks, precisions = [], []
    for node in sorted({u for u, _ in pairs}):
        above = {v for u, v in pairs if u == node}
        others = [v for v in range(len(dist)) if v != node]
        orders = [
            order
            for order in permutations(others)
            if all(float(dist[node, a]) <= float(dist[node, b]) for a, b in pairwise(order))
        ]
        for v in above:
            places = [1 + sum(w not in above for w in order[: order.index(v)]) for order in orders]
            ranks.append(Fraction(sum(places), len(places)))
        average = [
            Fraction(
                sum(Fraction(sum(w in above for w in order[: i + 1]), i + 1) for i, v in enumerate(order) if v in above)
            )
            / len(above)
            for order in orders
        ]
        precisions.append(sum(average) / len(average))
    return sum(ranks) / len(ranks), sum(precisions) / len(precisions)


@given(taxonomies(most=6), st.data())
def test_reconstruction_is_the_mean_over_all_orders_of_ties(edges, data):
    pairs = hierarchy.closure(edges)
    count = int(edges.max()) + 1
    numbers = data.draw(st.lists(st.integers(0, 3), min_size=count**2, max_size=count**2))
    dist = torch.tensor(numbers, dtype=torch.float32).view(count, count)
    found = hierarchy.reconstruction(dist, pairs)
    mean_rank, mean_precision = by_enumeration(dist, list(map(tuple, pairs.tolist())))
    assert found.mean_rank == pytest.approx(float(mean_rank), rel=1e-12)
    assert found.map == pytest.approx(float(mean_precision), rel=1e-12)
    assert found.nodes.tolist() == sorted(set(pairs[:, 0].tolist()))


@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_embeddings_score_as_their_distances_whatever_the_memory(space):
    torch.manual_seed(0)
    tree = torch.stack([torch.arange(1, 200), (torch.arange(1, 200) - 1) // 2], 1)
    pairs = hierarchy.closure(tree)
    points = 0.1 * torch.randn(200, 3)
    points[7] = points[8]  # a tie
    whole = hierarchy.reconstruction(space.pairwise_dist(points, points), pairs)
    for memory in (2e4, 2**29):
        found = hierarchy.reconstruction(points, pairs, space=space, memory_limit=memory)
        assert (found.mean_rank, found.map) == pytest.approx((whole.mean_rank, whole.map), rel=1e-12)
    assert 1 < whole.mean_rank < 200 and 0 < whole.map < 1
    some = pairs[pairs[:, 0] < 50]  # a part of the nodes scores as it does in the whole
    part = hierarchy.reconstruction(points, some, space=space)
    assert torch.equal(part.precisions, found.precisions[found.nodes < 50])
    assert torch.equal(part.ranks, found.ranks[found.nodes < 50])


def test_reconstruction_refuses_what_it_cannot_score():
    points, pairs = torch.randn(3, 2), torch.tensor([[1, 0]])
    for wrong, message in ((torch.tensor([[1, 3]]), "from 1 to 3"), (pairs[:0], r"shape \(0, 2\)")):
        with pytest.raises(ValueError, match=message):
            hierarchy.reconstruction(points, wrong, space=Euclidean())
    with pytest.raises(ValueError, match="square matrix"):
        hierarchy.reconstruction(points, pairs)
    with pytest.raises(TypeError, match="float32"):
        hierarchy.reconstruction(points, pairs.float(), space=Euclidean())
    with pytest.raises(ValueError, match="no query has a relevant item"):
        hierarchy.reconstruction(points, torch.tensor([[1, 1]]), space=Euclidean())


positive = st.floats(0.01, 100)


@given(st.lists(st.tuples(st.floats(0, 100), positive), min_size=1, max_size=8).filter(lambda x: any(d for d, _ in x)))
def test_no_scale_has_a_smaller_distortion(pairs):
    dist, tree = torch.tensor(pairs, dtype=torch.float64).T
    assume(float((dist / tree).max()) > 1e-6)
    found = hierarchy.distortion(dist, tree)

    def mean(scale):
        return float((scale * dist / tree - 1).abs().mean())

    assert found.mean == pytest.approx(mean(found.scale))
    breaks = [float(t / d) for d, t in zip(dist, tree, strict=True) if d > 0]  # a minimum is at one of them
    assert found.mean <= min(map(mean, breaks)) * (1 + 1e-9) + 1e-12
    again = hierarchy.distortion(3 * dist, tree)
    assert (again.mean, 3 * again.scale) == pytest.approx((found.mean, found.scale))


def test_distortion_leaves_points_and_themselves_out_and_refuses_the_rest():
    assert hierarchy.distortion(torch.tensor([9.0, 1.0]), torch.tensor([0.0, 2.0])).mean == 0
    for dist, tree, message in (
        ([1.0], [1.0, 2.0], "shape"),
        ([-1.0], [1.0], "dist has numbers"),
        ([1.0], [torch.inf], "tree_dist has numbers"),
        ([1.0], [0.0], "no distance above 0"),
        ([0.0], [1.0], "dist is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            hierarchy.distortion(torch.tensor(dist), torch.tensor(tree))


def four_points(dist: np.ndarray) -> float:
    """δ for the first point as base, by the definition."""

    def product(x, y):
        return (dist[x, 0] + dist[y, 0] - dist[x, y]) / 2

    points = range(len(dist))
    return max(min(product(x, z), product(z, y)) - product(x, y) for x in points for y in points for z in points)


@given(st.integers(4, 9), st.integers(0, 1000))
def test_delta_is_that_of_the_four_point_condition(count, seed):
    points = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    dist = Euclidean().pairwise_dist(points, points)
    found = hierarchy.delta_hyperbolicity(dist, repeats=1, seed=seed)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    assert found.delta == pytest.approx(four_points(dist[order][:, order].numpy()), abs=1e-12)
    assert found.relative == pytest.approx(2 * found.delta / float(dist.max()))
    assert found.spread == 0 and 0 <= found.relative <= 1
    assert hierarchy.delta_hyperbolicity(points, space=Euclidean(), repeats=1, seed=seed).delta == pytest.approx(
        found.delta
    )


@given(st.integers(4, 12).flatmap(lambda n: st.tuples(*(st.integers(0, node - 1) for node in range(1, n)))))
def test_a_tree_has_delta_0(parents):
    graph = np.zeros((len(parents) + 1,) * 2)
    graph[np.arange(1, len(graph)), parents] = 1
    dist = torch.from_numpy(shortest_path(graph, directed=False))
    assert hierarchy.delta_hyperbolicity(dist).values == (0.0,) * 5


def test_a_grid_is_no_tree():
    corners = torch.cartesian_prod(torch.arange(5.0), torch.arange(5.0))
    steps = (corners[:, None] - corners).abs().sum(-1)
    values = hierarchy.delta_hyperbolicity(steps, repeats=20).values
    assert max(values) == 1  # from a corner; no base has less than half of what another has
    assert min(values) >= 0.5


def test_samples_differ_by_the_seed_and_have_a_spread():
    points = torch.rand(300, 2, generator=torch.Generator().manual_seed(0))
    first, again, other = (
        hierarchy.delta_hyperbolicity(points, space=Euclidean(), samples=40, seed=seed) for seed in (0, 0, 1)
    )
    assert first == again != other
    assert first.spread > 0 and len(set(first.values)) == 5
    for options, message in (({"samples": 3}, "samples = 3"), ({"repeats": 0}, "repeats = 0")):
        with pytest.raises(ValueError, match=message):
            hierarchy.delta_hyperbolicity(points, space=Euclidean(), **options)
    with pytest.raises(ValueError, match="largest distance is 0"):
        hierarchy.delta_hyperbolicity(torch.zeros(4, 4))


def leaves_of(tree: np.ndarray) -> list[frozenset[int]]:
    """The leaves below each node of a linkage."""
    found = [frozenset([leaf]) for leaf in range(len(tree) + 1)]
    for left, right in tree[:, :2].astype(int):
        found.append(found[left] | found[right])
    return found


def lowest(leaves: list[frozenset[int]], i: int, j: int) -> frozenset[int]:
    return min((below for below in leaves if i in below and j in below), key=len)


@given(st.integers(2, 12), st.integers(0, 1000), st.sampled_from(["single", "complete", "average"]))
def test_cost_and_purity_are_those_of_their_definitions(count, seed, method):
    rng = np.random.default_rng(seed)
    tree = scipy_hierarchy.linkage(rng.random(count * (count - 1) // 2), method)
    similarity = rng.random((count, count))
    similarity += similarity.T
    leaves = leaves_of(tree)
    pairs = list(combinations(range(count), 2))
    cost = sum(similarity[i, j] * len(lowest(leaves, i, j)) for i, j in pairs)
    assert hierarchy.dasgupta_cost(tree, torch.from_numpy(similarity)) == pytest.approx(cost)
    labels = rng.integers(0, 3, count)
    shares = [np.mean(labels[list(lowest(leaves, i, j))] == labels[i]) for i, j in pairs if labels[i] == labels[j]]
    if shares:
        assert hierarchy.dendrogram_purity(tree, torch.from_numpy(labels)) == pytest.approx(np.mean(shares))
    else:
        with pytest.raises(ValueError, match="no two of one class"):
            hierarchy.dendrogram_purity(tree, torch.from_numpy(labels))


def test_all_trees_cost_the_same_where_all_are_equally_similar():
    rng = np.random.default_rng(0)
    for method in ("single", "average"):
        tree = scipy_hierarchy.linkage(rng.random(45), method)
        assert hierarchy.dasgupta_cost(tree, torch.ones(10, 10)) == pytest.approx((10**3 - 10) / 3)  # Dasgupta, lemma 3


@given(st.integers(2, 10), st.integers(0, 1000), st.sampled_from([0.1, 1.0, 20.0]))
def test_decoding_merges_the_deepest_pairs_first(count, seed, radius):
    u = radius * torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    tree = hierarchy.decode(u, c=0.7)
    depth = lca_depth(u[:, None], u, c=0.7)
    assert scipy_hierarchy.is_valid_linkage(tree)
    leaves, deepest = leaves_of(tree), max(float(depth[i, j]) for i, j in combinations(range(count), 2))
    for (left, right), height in zip(tree[:, :2].astype(int), tree[:, 2], strict=True):
        across = max(float(depth[i, j]) for i, j in product(leaves[left], leaves[right]))
        assert deepest - height == pytest.approx(across)
    assert (np.diff(tree[:, 2]) >= 0).all()


def test_a_tree_laid_out_in_the_plane_is_read_back():
    angles = torch.tensor([0.0, 0.1, 1.0, 1.1, 3.0, 3.1, 4.0, 4.1], dtype=torch.float64)
    u = 6 * torch.stack([angles.cos(), angles.sin()], 1)
    tree = hierarchy.decode(u, c=1.0)
    assert {frozenset([0, 1]), frozenset([2, 3]), frozenset([4, 5]), frozenset([6, 7])} <= set(leaves_of(tree))
    assert hierarchy.dendrogram_purity(tree, torch.arange(8) // 2) == 1


def test_what_is_no_tree_is_refused():
    tree = np.array([[0.0, 1, 1, 2]])
    with pytest.raises(ValueError, match="at least two"):
        hierarchy.decode(torch.ones(1, 2), c=1.0)
    with pytest.raises(ValueError, match="expected symmetric"):
        hierarchy.dasgupta_cost(tree, torch.tensor([[0.0, 1.0], [2.0, 0.0]]))
    with pytest.raises(ValueError, match=r"labels has shape \(3,\)"):
        hierarchy.dendrogram_purity(tree, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="tree has shape"):
        hierarchy.dasgupta_cost(np.zeros((2, 3)), torch.eye(3))
