"""Negatives that exclude ancestors exactly, batches that are functions of the step, and optimizers of rows."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apps.datasets.taxonomies.taxonomy import taxonomy
from apps.taxonomy.data import PairBatches, TaxonomyData
from apps.taxonomy.model import TaxonomyEmbedding
from apps.taxonomy.negatives import UNIT, Negatives
from apps.taxonomy.polar_adam import PolarAdam
from apps.taxonomy.relatives import Relatives
from geomdml.hierarchy import closure
from geomdml.optim import RowAdam
from geomdml.spaces import Hyperbolic

TREE = closure(torch.stack([torch.arange(1, 31), (torch.arange(1, 31) - 1) // 2], 1))


@given(
    st.lists(st.tuples(st.integers(1, 7), st.integers(0, 6)).filter(lambda e: e[0] > e[1]), min_size=1),
    st.integers(0, 9),
)
def test_negatives_are_exactly_the_nodes_that_are_neither_the_node_nor_above_it(edges, seed):
    ancestors = closure(torch.tensor(edges))
    for power in (0.0, 0.75, 1.0):
        negatives = Negatives(ancestors, 8, power=power)
        for node in range(8):
            barred = {node, *ancestors[ancestors[:, 0] == node, 1].tolist()}
            wanted = set(range(8)) - barred
            if not wanted:
                assert negatives.left[node] == 0
                continue
            drawn = negatives.draw(torch.tensor([node, node]), 150, np.random.default_rng(seed))
            assert drawn.shape == (2, 150) and not set(drawn.flatten().tolist()) & barred
            if power == 0:
                assert set(drawn.flatten().tolist()) == wanted


@pytest.mark.parametrize("power", [0.0, 0.75, 1.0])
def test_they_are_drawn_with_their_weights(power):
    degree = np.bincount(TREE.flatten(), minlength=31) + 1
    weight = np.rint(UNIT * degree**power)
    for node in (0, 5, 30):
        allowed = np.ones(31, bool)
        allowed[[node, *TREE[TREE[:, 0] == node, 1].tolist()]] = False
        drawn = Negatives(TREE, 31, power=power).draw(torch.tensor([node]), 200_000, np.random.default_rng(0))
        shares = np.bincount(drawn[0], minlength=31) / 200_000
        assert np.abs(shares - weight * allowed / (weight * allowed).sum()).max() < 0.005


def test_batches_are_functions_of_seed_epoch_and_step_and_cover_all_pairs():
    tree = taxonomy("tree", [(f"n{node}", f"n{node // 2}") for node in range(2, 64)])

    def batches(seed: int) -> PairBatches:
        return PairBatches(
            tree.ancestors, len(tree), title=tree.title, size=43, negatives=3, power=0.5, steps=4, seed=seed
        )

    first, other = batches(0), batches(1)
    assert torch.equal(first.batch(1, 2), batches(0).batch(1, 2))
    assert not torch.equal(first.batch(1, 2), other.batch(1, 2))
    assert not torch.equal(first.batch(0, 0), first.batch(1, 2))
    one_pass = torch.cat([first.batch(*divmod(step, 4))[:, :2] for step in range(6)])  # 6 · 43 = 258 pairs
    assert set(map(tuple, one_pass.tolist())) == set(map(tuple, tree.ancestors.tolist()))
    first.set_epoch(1, 2)
    assert [torch.equal(batch, batches(0).batch(1, step)) for step, batch in enumerate(first, start=2)] == [True, True]
    with pytest.raises(ValueError, match="pair has no negatives"):
        PairBatches(torch.tensor([[0, 1]]), 2, title="pair", size=2, negatives=1, power=0, steps=1, seed=0)


def test_row_adam_is_adam_where_all_rows_are_used_and_leaves_the_others_alone():
    torch.manual_seed(0)
    start = torch.randn(6, 3)
    dense, sparse = torch.nn.Parameter(start.clone()), torch.nn.Embedding(6, 3, sparse=True, _weight=start.clone())
    other = torch.nn.Parameter(torch.tensor(1.0))
    adam, rows = (
        torch.optim.Adam([dense, other], 0.1),
        RowAdam([sparse.weight, second := torch.nn.Parameter(other.detach().clone())], 0.1),
    )
    for _ in range(5):
        index, target = torch.randint(6, (40,)), torch.randn(40, 3)
        index[:6] = torch.arange(6)
        for optimizer, points, scale in ((adam, dense[index], other), (rows, sparse(index), second)):
            optimizer.zero_grad()
            (scale * points - target).square().sum().backward()
            optimizer.step()
    assert torch.allclose(dense, sparse.weight, atol=1e-6) and torch.allclose(other, second)
    before = {name: value.clone() for name, value in rows.state[sparse.weight].items() if name != "step"} | {
        "w": sparse.weight.detach().clone()
    }
    rows.zero_grad()
    sparse(torch.tensor([1, 4, 1])).sum().backward()
    rows.step()
    after = {name: rows.state[sparse.weight][name] for name in ("mean", "square")} | {"w": sparse.weight.detach()}
    untouched = [0, 2, 3, 5]
    for name, values in after.items():
        assert torch.equal(values[untouched], before[name][untouched])
        assert not torch.equal(values[[1, 4]], before[name][[1, 4]])


def test_a_step_has_gradients_for_its_rows_alone():
    model = TaxonomyEmbedding(1000, dim=3)
    model(torch.tensor([[1, 2, 3, 4], [5, 2, 6, 7]])).backward()
    grad = model.points.weight.grad.coalesce()
    assert grad.indices()[0].tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_points_of_the_ball_stay_inside():
    model = TaxonomyEmbedding(10, dim=2, space="ball", start=0.1)
    model(torch.tensor([[1, 2, 3]])).backward()
    with torch.no_grad():
        model.points.weight[1] = 5.0
    model.keep_inside()
    assert float(model.embeddings[1].norm()) < 1
    assert torch.isfinite(model.radii).all()


@given(
    st.lists(st.tuples(st.integers(1, 7), st.integers(0, 6)).filter(lambda e: e[0] > e[1]), min_size=1),
    st.integers(0, 9),
)
def test_relatives_are_exactly_the_nodes_below_an_ancestor_that_are_not_above_the_node(edges, seed):
    ancestors = closure(torch.tensor(edges))
    relatives, rng = Relatives(ancestors, 8), np.random.default_rng(seed)
    for node in ancestors[:, 0].unique().tolist():
        above = ancestors[ancestors[:, 0] == node, 1]
        near = set(ancestors[torch.isin(ancestors[:, 1], above), 0].tolist()) - {node, *above.tolist()}
        drawn = relatives.draw(torch.tensor([node]), torch.full((1, 400), -1), rng)[0].tolist()
        assert set(drawn) - {-1} == near


def test_a_share_of_the_negatives_are_relatives():
    edges = torch.stack([torch.arange(1, 31), (torch.arange(1, 31) - 1) // 2], 1)
    tree = taxonomy("tree", [(str(child), str(parent)) for child, parent in edges.tolist()])

    def negatives(share: float) -> torch.Tensor:
        made = PairBatches(
            tree.ancestors, len(tree), title="tree", size=8, negatives=10, power=0.0, steps=50, seed=0, relatives=share
        )
        return torch.cat([batch for batch in made])

    above = torch.zeros(31, 31, dtype=torch.bool)
    above[tuple(tree.ancestors.T)] = True
    for share in (0.0, 0.5, 1.0):
        rows = negatives(share)
        assert not bool(above[rows[:, :1], rows[:, 2:]].any())
    siblings = [
        float((above[rows[:, :1]] & above[rows[:, 2:]]).sum(-1).float().mean()) for rows in map(negatives, (0.0, 1.0))
    ]
    assert siblings[1] > siblings[0] + 0.3  # common ancestors of a node and its negatives


@given(st.floats(0.01, 12.0), st.floats(0.05, 4.0), st.integers(2, 6), st.integers(0, 99))
def test_polar_adam_turns_a_point_by_a_length_half_way_to_it_and_moves_it_outwards_as_adam_does(half, c, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    radial = torch.nn.functional.normalize(torch.randn(dim, generator=generator, dtype=torch.float64), dim=0)
    start = radial * half / c**0.5
    points = torch.nn.Parameter(start[None].clone())
    optimizer = PolarAdam(points, space=Hyperbolic(c), lr=1.0)
    change = optimizer.preconditioner(points, points.detach())
    across = torch.randn(dim, generator=generator, dtype=torch.float64)
    across -= (across @ radial) * radial
    torch.testing.assert_close(change(radial[None])[0], radial)
    torch.testing.assert_close(
        change(across[None])[0], across * half / np.sinh(half)
    )  # by angle, |across|·√c/sinh(r/2)


def test_polar_adam_is_adam_at_the_origin_and_for_other_parameters():
    start = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)) * 1e-6
    first, second = (torch.nn.Embedding(3, 2, sparse=True, _weight=start.clone()) for _ in range(2))
    other, same = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    polar = PolarAdam(first.weight, [other], space=Hyperbolic(1.0), lr=1e-9)
    adam = RowAdam([second.weight, same], lr=1e-9, betas=(0.9, 0.99))
    rows, weight = torch.tensor([0, 2]), torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    for optimizer, table, extra in ((polar, first, other), (adam, second, same)):
        for _ in range(5):
            optimizer.zero_grad()
            ((table(rows) * weight).sum() + extra.sum()).backward()
            optimizer.step()
    torch.testing.assert_close(first.weight, second.weight, rtol=1e-6, atol=0)
    assert torch.equal(other, same)


def test_held_out_pairs_are_not_seen_and_each_node_keeps_one(tmp_path):
    path = tmp_path / "tree.csv"
    path.write_text("child,parent\n" + "".join(f"n{node},n{node // 2}\n" for node in range(2, 64)))
    data, same, other = (TaxonomyData(str(path), held_out=0.2, batch_size=64, split_seed=seed) for seed in (0, 0, 1))
    assert torch.equal(data.held_out, same.held_out) and not torch.equal(data.held_out, other.held_out)
    assert len(data.held_out) == round(0.2 * len(data.taxonomy.ancestors))
    both = torch.cat([data.known, data.held_out]).unique(dim=0)
    assert torch.equal(both, data.taxonomy.ancestors) and len(both) == len(data.known) + len(data.held_out)
    assert data.known[:, 0].unique().tolist() == data.taxonomy.ancestors[:, 0].unique().tolist()
    batches = data.batches(0)
    seen = {tuple(pair) for step in range(8) for pair in batches.batch(0, step)[:, :2].tolist()}
    assert seen == {tuple(pair) for pair in data.known.tolist()}
