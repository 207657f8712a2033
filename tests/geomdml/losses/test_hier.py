"""HIER's regulariser: its formula by loops, the triplets and ancestors it draws, and that it learns."""

import math
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml.losses import HIERLoss
from geomdml.losses.functional import hierarchical_triplet
from geomdml.losses.hier import draw_ancestors, draw_triplets
from geomdml.spaces import Hyperbolic

seeds = st.integers(0, 2**31)


def uniform(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return 3 * torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def slow_triplet(pair: list[float], triplet: list[float], margin: float) -> float:
    (i2, j2, k2), (i3, j3, k3) = pair, triplet
    return max(i2 - i3 + margin, 0) + max(j2 - j3 + margin, 0) + max(k3 - k2 + margin, 0)


@given(st.integers(1, 6), seeds, st.floats(0.0, 2.0))
def test_the_formula(count, seed, margin):
    pair, triplet = uniform((count, 3), seed), uniform((count, 3), seed + 1)
    expected = [slow_triplet(p, t, margin) for p, t in zip(pair.tolist(), triplet.tolist(), strict=True)]
    expected = torch.tensor(expected, dtype=torch.float64)
    for reduction, value in (("none", expected), ("mean", expected.mean()), ("sum", expected.sum())):
        torch.testing.assert_close(hierarchical_triplet(pair, triplet, margin=margin, reduction=reduction), value)


def test_gradients_of_the_formula():
    inputs = uniform((5, 3), 0).requires_grad_(), uniform((5, 3), 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda p, t: hierarchical_triplet(p, t, margin=0.3), inputs)


@given(st.integers(2, 12), st.integers(2, 6), st.integers(1, 8), seeds)
def test_triplets_are_mutual_neighbours_and_one_that_is_not(count, neighbors, per_point, seed):
    torch.manual_seed(seed)
    similarity = uniform((count, count), seed)
    similarity.fill_diagonal_(4)  # a point is nearest to itself
    near = [set(sorted(range(count), key=lambda j: -similarity[i, j])[:neighbors]) for i in range(count)]
    mutual = [{j for j in range(count) if j != i and j in near[i] and i in near[j]} for i in range(count)]
    anchors = [i for i in range(count) if mutual[i] and len(mutual[i]) < count - 1]
    triplets, drawn = draw_triplets(similarity, neighbors, per_point)
    assert triplets.shape == (count * per_point, 3)
    triplets = triplets[drawn]
    assert triplets[:, 0].tolist() == [i for i in anchors for _ in range(per_point)]
    for i, j, k in triplets.tolist():
        assert j in mutual[i] and k not in mutual[i] and k != i


def test_triplets_are_uniform():
    similarity = torch.tensor([[9.0, 5, 5, 1, 1], [5, 9, 5, 1, 1], [5, 5, 9, 1, 1], [1, 1, 1, 9, 1], [1, 1, 1, 1, 9]])
    torch.manual_seed(0)
    triplets, _ = draw_triplets(similarity, 3, 20_000)
    first = triplets[triplets[:, 0] == 0]
    counts = torch.bincount(first[:, 1] * 5 + first[:, 2])
    counts = counts[counts > 0]
    assert len(counts) == 2 * 2 and (counts - 5000).abs().max() < 5 * math.sqrt(5000)


def test_ancestors_are_drawn_with_their_odds():
    torch.manual_seed(0)
    distance = torch.tensor([1.0, 1.5, 3.0])
    drawn = draw_ancestors(distance.expand(100_000, 3), 0.5)
    assert ((drawn == 0) | (drawn == 1)).all() and (drawn.sum(1) == 1).all()
    torch.testing.assert_close(
        drawn.mean(0), torch.softmax(-distance / 0.5, 0), atol=5 * 0.5 / math.sqrt(100_000), rtol=0
    )


def ball_distance(u: torch.Tensor, v: torch.Tensor, c: float) -> float:
    """The asinh form on the points with tangent vectors u and v."""
    x, y = (torch.tanh(math.sqrt(c) * w.norm()) * w / (math.sqrt(c) * w.norm()) for w in (u, v))
    gap = (1 - c * x @ x) * (1 - c * y @ y)
    return float(2 / math.sqrt(c) * torch.asinh(math.sqrt(c) * (x - y).norm() / gap.sqrt()))


def slow_hier(points, proxies, triplets, c: float, margin: float) -> list[float]:
    """Every value that the mean over triplets can take, each ancestor a proxy whose farthest descendant is nearest.

    Two proxies are equally good ancestors of themselves.
    """

    def ancestors(members) -> list[int]:
        farthest = [max(ball_distance(points[m], proxy, c) for m in members) for proxy in proxies]
        return [p for p, distance in enumerate(farthest) if distance < min(farthest) + 1e-9]

    totals = [0.0]
    for i, j, k in triplets:
        values = set()
        for pair, all_three in product(ancestors((i, j)), ancestors((i, j, k))):
            d = [[ball_distance(points[m], proxies[p], c) for m in (i, j, k)] for p in (pair, all_three)]
            values.add(slow_triplet(*d, margin) if pair != all_three else 0.0)
        totals = [total + value for total, value in product(totals, values)]
    return [total / len(triplets) for total in totals]


@pytest.mark.parametrize("c", [0.1, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_its_loop_where_little_is_left_to_chance(c, seed):
    """Three points of which two are of a class, and three proxies of which two are near, have but these triplets."""
    torch.manual_seed(seed)
    loss = HIERLoss(4, space=Hyperbolic(c), num_proxies=3, neighbors=2, triplets_per_point=1, temperature=1e-6).double()
    base = torch.randn(4, dtype=torch.float64)
    loss.proxies.data = torch.stack([base, base + 0.1 * torch.randn(4), -base])
    points, triplets = torch.randn(3, 4, dtype=torch.float64), [(0, 1, 2), (1, 0, 2)]
    (of_points,) = slow_hier(points, loss.proxies.detach(), triplets, c, 0.1)
    of_proxies = slow_hier(loss.proxies.detach(), loss.proxies.detach(), triplets, c, 0.1)
    found = loss(points, torch.tensor([0, 0, 1])).item()
    assert min(abs(found - of_points - value) for value in of_proxies) < 1e-9


def test_no_triplets_are_no_loss():
    loss = HIERLoss(4, space=Hyperbolic(), num_proxies=2)
    value = loss(torch.randn(2, 4, requires_grad=True), torch.tensor([0, 1]))
    value.backward()
    assert value == 0 and not loss.proxies.grad.any()


def test_it_learns_ancestors():
    torch.manual_seed(0)
    centres = torch.randn(4, 6)
    labels = torch.arange(4).repeat_interleave(6)
    points = centres[labels] + 0.2 * torch.randn(24, 6)
    loss = HIERLoss(6, space=Hyperbolic(0.1), num_proxies=12, neighbors=6, margin=0.5)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    values = []
    for _ in range(150):
        optimizer.zero_grad()
        (value := loss(points, labels)).backward()
        optimizer.step()
        values.append(value.item())
    assert sum(values[-10:]) < 0.6 * sum(values[:10])


def test_gradients_reach_points_proxies_and_curvature():
    space = Hyperbolic(0.5, learnable=True)
    loss = HIERLoss(4, space=space, num_proxies=8, neighbors=3)
    points = torch.randn(9, 4, requires_grad=True)
    with torch.no_grad():
        points[1] = points[0]  # a duplicate
        loss.proxies[0] = 0  # the origin
    loss(points, torch.arange(9) // 3).backward()
    for tensor in (points, loss.proxies, space.log_c):
        assert tensor.grad is not None and tensor.grad.isfinite().all() and tensor.grad.any()


@pytest.mark.parametrize(
    ("message", "settings"),
    [
        ("num_proxies = 1", {"num_proxies": 1}),
        ("neighbors = 1", {"neighbors": 1}),
        ("triplets_per_point = 0", {"triplets_per_point": 0}),
        ("temperature = 0", {"temperature": 0.0}),
        ("space = ", {"space": Hyperbolic(chart="ball")}),
    ],
)
def test_settings_that_cannot_work_are_refused(message, settings):
    with pytest.raises(ValueError, match=message):
        HIERLoss(4, **{"space": Hyperbolic()} | settings)
    with pytest.raises(ValueError, match=r"expected \(M, 3\)"):
        hierarchical_triplet(torch.rand(2, 2), torch.rand(2, 2), margin=0.1)
