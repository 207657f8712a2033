"""Proxies of a tree against the losses that they are made of."""

import pytest
import torch

from geomdml.class_trees import class_labels
from geomdml.losses import ClosureLoss, SoftTripleLoss, TreeProxyLoss
from geomdml.losses.functional import in_mean_units, soft_triple
from geomdml.spaces import Euclidean, Hyperbolic
from tests.geomdml.test_class_trees import FOREST

SPACES = [Euclidean(), Hyperbolic(c=0.5), Hyperbolic(c=0.5, chart="lorentz"), Hyperbolic(c=1e-6)]
X = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 3, 0])


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_without_inner_nodes_it_is_soft_triple(space):
    flat = TreeProxyLoss(torch.tensor([-1] * 4), 3, space=space)
    peer = SoftTripleLoss(4, 3, centers_per_class=1, space=space)
    peer.proxies.vectors.data = flat.proxies.data.unsqueeze(1).clone()
    torch.testing.assert_close(flat(X, LABELS), peer(X, LABELS))


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_it_is_the_mean_over_levels_and_the_closure(space):
    loss = TreeProxyLoss(FOREST, 3, space=space, weight=0.7)
    levels = class_labels(FOREST)
    dist = in_mean_units(space.pairwise_dist(X, loss.proxies))
    points = 0.0
    for column in levels.unbind(1):
        nodes = column.unique()
        own = torch.searchsorted(nodes, column[LABELS])
        points += soft_triple(dist[:, nodes].unsqueeze(2), own, gamma=1.0, scale=20.0, margin=0.1) / 3
    above = torch.cat([column.unique() for column in levels[:, :-1].unbind(1)])
    unit = float(space.pairwise_dist(loss.proxies[:4], loss.proxies[above]).detach().mean())
    closure = 0.0
    for column in levels[:, :-1].unbind(1):
        others = torch.tensor([[own, *sorted(set(column.tolist()) - {own})] for own in column.tolist()])
        terms = ClosureLoss(space=space, temperature=unit / 20)(loss.proxies[:4], loss.proxies[others])
        closure += terms / 2
    torch.testing.assert_close(loss(X, LABELS), points + 0.7 * closure, rtol=1e-4, atol=1e-4)


def test_the_limit_of_no_curvature_is_euclidean():
    torch.manual_seed(0)
    flat, curved = TreeProxyLoss(FOREST, 3), TreeProxyLoss(FOREST, 3, space=Hyperbolic(c=1e-8))
    curved.load_state_dict(flat.state_dict())
    torch.testing.assert_close(flat(X, LABELS), curved(X, LABELS), rtol=1e-4, atol=1e-4)


def test_proxies_start_at_the_means_below_them():
    loss = TreeProxyLoss(FOREST, 3)
    before = loss.proxies.detach().clone()
    loss.start_at(X[:3], torch.tensor([0, 1, 1]))
    torch.testing.assert_close(loss.proxies[0], X[0])
    torch.testing.assert_close(loss.proxies[4], X[:3].mean(0))
    torch.testing.assert_close(loss.proxies[6], X[:3].mean(0))
    torch.testing.assert_close(loss.proxies[3], before[3])


def test_proxies_are_placed_as_asked():
    loss = TreeProxyLoss(FOREST, 3, place=torch.nn.functional.normalize)
    value = loss(X, LABELS)
    loss.proxies.data *= 7
    torch.testing.assert_close(loss(X, LABELS), value)


def test_all_proxies_are_trained():
    loss = TreeProxyLoss(FOREST, 3, space=Hyperbolic(c=0.5))
    loss(X, LABELS).backward()
    assert bool((loss.proxies.grad.norm(dim=1) > 0).all())


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="weight = -1"):
        TreeProxyLoss(FOREST, 3, weight=-1)
    with pytest.raises(ValueError, match="labels go from 0 to 4"):
        TreeProxyLoss(FOREST, 3)(X[:2], torch.tensor([0, 4]))
