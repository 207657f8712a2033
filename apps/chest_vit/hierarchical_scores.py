"""Scores of a run whose classes form a hierarchy, by name: of retrieval at every level, and of distances and radii."""

from collections.abc import Sequence

import torch
from torch import Tensor

from apps.chest_vit.class_tree import Above, levels, parents
from geomdml.losses import TreeProxyLoss
from geomdml.metrics import distance_correlation, hierarchical_retrieval, radius_correlation
from geomdml.spaces import Space

PRECISION, SEVERITY, MISTAKES = "H-AP", "tree distance", "tree distance of mistakes"
DISTANCES, RADII = "distances ~ tree", "radii ~ depth"
MOST_PAIRS = 20_000  # of images whose distances are compared with those of the tree


def hierarchical_scores(
    embeddings: Tensor,
    labels: Tensor,
    above: Above,
    classes: Sequence[str],
    space: Space,
    *,
    ks: Sequence[int],
    queries: int | None = None,
) -> dict[str, float]:
    """What `hierarchical_retrieval` and `distance_correlation` find; what is not defined is left out.

    In percent "level 1 Recall@1" and so on, the levels above the classes from the coarsest, and "H-AP", hierarchical
    average precision. In edges "tree distance", from a query's class to that of its first neighbour, and the same over
    the queries whose first neighbour is of another class. −1 to 1 the rank correlation "distances ~ tree".

    The first `queries` embeddings search the others; None has each search all others (leave-one-out).
    """
    tree = parents(above, classes)
    searched = (None, None) if queries is None else (embeddings[queries:], labels[queries:])
    found = hierarchical_retrieval(
        embeddings[:queries],
        labels[:queries],
        tree,
        gallery=searched[0],
        gallery_labels=searched[1],
        space=space,
        ks=tuple(ks),
    )
    named: dict[str, float | None] = {}
    for level, recall in zip(levels(above, classes), found.recall[:-1], strict=True):
        named |= {f"{level} Recall@{k}": 100 * value for k, value in (recall or {}).items()}
    named[PRECISION] = None if found.hierarchical_ap is None else 100 * found.hierarchical_ap
    named |= {SEVERITY: found.severity, MISTAKES: found.mistake_severity}
    if len(labels.unique()) > 1:
        named[DISTANCES] = distance_correlation(
            embeddings, labels, tree, space=space, pairs=min(MOST_PAIRS, len(labels) ** 2)
        )
    return _defined(named)


@torch.no_grad()
def radius_score(loss: TreeProxyLoss, above: Above) -> dict[str, float]:
    """The rank correlation "radii ~ depth" of the proxies' radii with the depths of their classes and categories."""
    proxies = loss.proxies.detach().cpu()
    placed = proxies if loss.place is None else loss.place(proxies)
    tree = parents(above, list(above)[: len(loss.own)])
    return _defined({RADII: radius_correlation(placed.norm(dim=1), tree)})


def _defined(named: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in named.items() if value is not None and value == value}
