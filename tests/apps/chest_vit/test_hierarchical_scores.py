"""The scores of a hierarchy by name: those of the library, in percent, and what is not defined is left out."""

import pytest
import torch

from apps.chest_vit.class_tree import parents
from apps.chest_vit.hierarchical_scores import hierarchical_scores, radius_score
from geomdml.losses import TreeProxyLoss
from geomdml.metrics import distance_correlation, hierarchical_retrieval
from geomdml.spaces import Euclidean, Hyperbolic

ABOVE = {
    "tabby": ["pet", "cat"],
    "siamese": ["pet", "cat"],
    "collie": ["pet", "dog"],
    "lime": ["food", "fruit"],
    "fig": ["food", "fruit"],
}
CLASSES = ["fig", "tabby", "collie", "siamese"]  # of a test, in its own order


@pytest.mark.parametrize("queries", [None, 15])
def test_they_are_those_of_the_library(queries):
    space = Hyperbolic(c=0.5)
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40) % 4
    found = hierarchical_scores(x, labels, ABOVE, CLASSES, space, ks=(1, 3), queries=queries)
    tree = parents(ABOVE, CLASSES)
    gallery = {} if queries is None else {"gallery": x[queries:], "gallery_labels": labels[queries:]}
    by_library = hierarchical_retrieval(x[:queries], labels[:queries], tree, **gallery, space=space, ks=(1, 3))
    assert list(found) == [
        *(f"level {level} Recall@{k}" for level in (1, 2) for k in (1, 3)),
        *("H-AP", "tree distance", "tree distance of mistakes", "distances ~ tree"),
    ]
    for level in (1, 2):
        for k in (1, 3):
            assert found[f"level {level} Recall@{k}"] == 100 * by_library.recall[level - 1][k]
    assert found["H-AP"] == 100 * by_library.hierarchical_ap
    assert found["tree distance"] == by_library.severity
    assert found["distances ~ tree"] == distance_correlation(x, labels, tree, space=space, pairs=1600)


def test_what_is_not_defined_is_left_out():
    points = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
    pets = hierarchical_scores(points, torch.tensor([0, 0, 1, 1]), ABOVE, ["tabby", "siamese"], Euclidean(), ks=(1,))
    assert pets == {"H-AP": 100.0, "tree distance": 0.0}  # one category, no mistake, one distance in the tree
    one = hierarchical_scores(points, torch.zeros(4).long(), ABOVE, ["tabby", "lime"], Euclidean(), ks=(1,))
    assert one == {"level 1 Recall@1": 100.0, "level 2 Recall@1": 100.0, "H-AP": 100.0, "tree distance": 0.0}


def test_a_class_that_the_tree_does_not_have_is_refused():
    with pytest.raises(ValueError, match=r"no place for class 'okapi'; give --data\.hierarchy for these data"):
        hierarchical_scores(torch.eye(2), torch.arange(2), ABOVE, ["tabby", "okapi"], Euclidean(), ks=(1,))


def test_radii_are_those_of_the_placed_proxies():
    loss = TreeProxyLoss(parents(ABOVE, list(ABOVE)), 2)
    depth = torch.tensor([2.0] * 5 + [1.0] * 3 + [0.0] * 2)
    with torch.no_grad():
        loss.proxies.copy_(torch.stack([0.1 + depth, torch.zeros(10)], 1))
    assert radius_score(loss, ABOVE) == {"radii ~ depth": pytest.approx(1.0)}
    loss.place = lambda proxies: -3 / proxies
    with torch.no_grad():
        loss.proxies[:, 1] = -1e9
    assert radius_score(loss, ABOVE) == {"radii ~ depth": pytest.approx(-1.0)}
    loss.place = torch.ones_like
    assert radius_score(loss, ABOVE) == {}
