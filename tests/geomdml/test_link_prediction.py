"""Held-out edges: ranks and precisions by their definitions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml.hierarchy import link_prediction, reconstruction
from geomdml.spaces import Euclidean, Hyperbolic

COUNT = 7
pairs = st.lists(
    st.tuples(st.integers(0, COUNT - 1), st.integers(0, COUNT - 1)).filter(lambda p: p[0] != p[1]), max_size=12
)


@given(pairs.filter(len), pairs, st.integers(0, 99), st.sampled_from([Euclidean(), Hyperbolic(0.7)]))
def test_ranks_and_precisions_are_those_of_the_definition(held_out, known, seed, space):
    known = [pair for pair in known if pair not in held_out]
    points = torch.randn(COUNT, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    dist = space.pairwise_dist(points, points)
    ranks, precisions = [], []
    for node in sorted({child for child, _ in held_out}):
        asked = {ancestor for child, ancestor in held_out if child == node}
        left_out = asked | {node} | {ancestor for child, ancestor in known if child == node}
        others = [dist[node, v] for v in range(COUNT) if v not in left_out]
        found = sorted(1 + sum(bool(other < dist[node, v]) for other in others) for v in asked)
        ranks += found
        precisions.append(sum(k / (rank + k - 1) for k, rank in enumerate(found, 1)) / len(found))
    seen = torch.tensor(known, dtype=torch.int64).reshape(-1, 2)
    got = link_prediction(points, torch.tensor(held_out), seen, space=space)
    assert got.mean_rank == pytest.approx(sum(ranks) / len(ranks))
    assert got.map == pytest.approx(sum(precisions) / len(precisions))


@given(pairs.filter(len), st.integers(0, 99))
def test_where_all_is_held_out_it_is_the_reconstruction(held_out, seed):
    points = torch.randint(-1, 2, (COUNT, 2), generator=torch.Generator().manual_seed(seed)).double()  # many are tied
    held_out = torch.tensor(held_out)
    got = link_prediction(points, held_out, held_out[:0], space=Euclidean())
    whole = reconstruction(points, held_out, space=Euclidean())
    assert got.mean_rank == pytest.approx(whole.mean_rank) and got.map == pytest.approx(whole.map)


@pytest.mark.parametrize(
    ("held_out", "known", "error", "message"),
    [
        (torch.empty(0, 2, dtype=torch.int64), torch.tensor([[0, 1]]), ValueError, "held_out has no pairs"),
        (torch.tensor([[0, 7]]), torch.tensor([[0, 1]]), ValueError, "held_out goes from 0 to 7; expected 0 to 6"),
        (torch.tensor([[0, 1]]), torch.tensor([0, 1]), ValueError, r"known has shape \(2,\)"),
        (torch.tensor([[0.0, 1.0]]), torch.tensor([[0, 1]]), TypeError, "held_out has dtype torch.float32"),
    ],
)
def test_mistakes_are_named(held_out, known, error, message):
    with pytest.raises(error, match=message):
        link_prediction(torch.zeros(COUNT, 2), held_out, known, space=Euclidean())
