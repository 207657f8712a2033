"""Retrieval scores where classes form a tree: at every level, hierarchical average precision, severity of mistakes."""

from collections.abc import Collection
from math import fsum
from typing import NamedTuple

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from geomdml._core import checks
from geomdml._core.numerics import result_dtype
from geomdml.class_trees import class_labels, tree_dist
from geomdml.metrics.ranking import MEMORY
from geomdml.metrics.retrieval import Score, retrieval
from geomdml.search._ties import bounds, tied
from geomdml.spaces import Euclidean, Space

__all__ = ["HierarchicalScores", "hierarchical_retrieval"]

_BYTES = 64  # of one distance, sorted and counted, and as much again for each level


class HierarchicalScores(NamedTuple):
    """Means over the queries; levels from coarse to fine, the last being the classes themselves.

    recall: of each level, {k: Recall@k}; None where no query has a relevant item at that level.
    hierarchical_ap: over the queries with a relevant item at any level; None where there are none.
    severity: tree distance from a query's class to that of its nearest neighbour, in edges.
    mistake_severity: the same, over the queries whose nearest neighbour is of another class; None without any.
    """

    recall: tuple[dict[int, float] | None, ...]
    hierarchical_ap: float | None
    severity: float
    mistake_severity: float | None


def hierarchical_retrieval(
    query: Float[Tensor, "Q D"],
    labels: Integer[Tensor, " Q"],
    parents: Integer[Tensor, " N"],
    *,
    gallery: Float[Tensor, "G D"] | None = None,
    gallery_labels: Integer[Tensor, " G"] | None = None,
    space: Space | None = None,
    ks: Collection[int] = (1,),
    memory_limit: int | float = MEMORY,
) -> HierarchicalScores:
    """How well the neighbours of each embedding, in a gallery or among all the others, agree with a tree of classes.

    - Recall@k at each level: that of `retrieval` with the classes' ancestors at that level as labels.
    - Hierarchical AP: an item whose class shares l of L levels with the query's has relevance rel = (l/L)/n_l, where
      n_l items share exactly l. With rank(k) = |{j: d_j ≤ d_k}| and H-rank(k) = Σ_{j: d_j ≤ d_k} min(rel_j, rel_k),
      H-AP = Σ_k H-rank(k)/rank(k) / Σ_k rel_k, over the items with l > 0.
    - Severity: the tree distance to the nearest neighbour's class; items at one distance count by their mean.

    Args:
        query, labels: (Q, D) embeddings and their classes, 0 to C − 1; classes may be absent.
        parents: (N,) the tree, see `geomdml.class_trees`.
        gallery, gallery_labels: (G, D) and (G,) what is searched; None searches the queries, of which there are then at
            least two, leaving out each itself.
        space: whose `pairwise_dist` ranks; None is Euclidean.
        ks: the k of Recall@k.
        memory_limit: bytes to work in: never a Q × Q matrix beyond it.

    Raises:
        ValueError: shapes that do not match, labels outside the classes, NaN or infinite embeddings or distances, a k
            below 1, memory too small for one query, a `parents` that is no tree.
        TypeError: embeddings that are not floating point, labels or parents that are not integers.

    Source: Ramzi et al., "Hierarchical average precision training for pertinent image retrieval" (HAPPIER, 2022),
    equations (2) to (4) with α = 1, where tied items rank behind all of their tie; Bertinetto et al., "Making better
    mistakes" (2020), for severity.

    >>> x, parents = torch.tensor([[0.0], [1.0], [3.0], [9.0]]), torch.tensor([3, 3, 4, -1, -1])
    >>> scores = hierarchical_retrieval(x, torch.tensor([0, 0, 1, 2]), parents)
    >>> scores.recall, scores.severity
    (({1: 1.0}, {1: 1.0}), 1.5)
    """
    if (gallery is None) != (gallery_labels is None):
        raise ValueError("gallery and gallery_labels go together; expected both or neither")
    items = query if gallery is None else gallery
    checks.rows(query=query, gallery=items)
    checks.finite(query=query, gallery=items)
    levels, apart = class_labels(parents), tree_dist(parents)
    classes = of_items = checks.labels(len(query), len(apart), device=query.device, labels=labels)
    if gallery_labels is not None:
        of_items = checks.labels(len(items), len(apart), device=query.device, gallery_labels=gallery_labels)
    for name, some, least in (("query", query, 2 if gallery is None else 1), ("gallery", items, 1)):
        if len(some) < least:
            raise ValueError(f"{name} has {len(some)} embeddings; expected at least {least}")
    levels, apart = levels.to(query.device), apart.to(query.device)
    space = space or Euclidean()
    block = int(memory_limit // (_BYTES * (1 + levels.shape[1]) * len(items)))
    if block < 1:
        raise ValueError(f"memory_limit = {memory_limit:.3g} is too little for one query of {len(items)} items")
    points, found = query.detach().to(result_dtype(query)), items.detach().to(result_dtype(items))
    precisions, severities, wrong = [], [], []
    for rows in torch.arange(len(query), device=query.device).split(block):
        dist = space.pairwise_dist(points[rows], found)
        if not bool(dist.isfinite().all()):
            raise ValueError(f"{space} gives distances that are NaN or infinite; expected embeddings it can measure")
        if gallery is None:
            dist[torch.arange(len(rows)), rows] = torch.inf
        precisions.append(_hierarchical_ap(dist, _shared(levels, classes[rows], of_items), levels.shape[1]))
        nearest = dist <= bounds(dist.amin(1, keepdim=True))[1]
        row, item = nearest.nonzero(as_tuple=True)
        steps = apart[classes[rows][row], of_items[item]].double()
        count = nearest.sum(1).double()
        severities.append(torch.zeros_like(count).index_add_(0, row, steps) / count)
        wrong.append(torch.zeros_like(count).index_add_(0, row, (steps > 0).double()) / count)
    severity, mistaken = fsum(torch.cat(severities).tolist()), fsum(torch.cat(wrong).tolist())
    counted = [value for value in torch.cat(precisions).tolist() if value == value]
    searched = None if gallery is None else found
    return HierarchicalScores(
        recall=tuple(
            _recall(points, column[classes], searched, column[of_items], space, ks, memory_limit)
            for column in levels.unbind(1)
        ),
        hierarchical_ap=fsum(counted) / len(counted) if counted else None,
        severity=severity / len(query),
        mistake_severity=severity / mistaken if mistaken else None,
    )


def _recall(
    points: Tensor,
    labels: Tensor,
    gallery: Tensor | None,
    of_items: Tensor,
    space: Space,
    ks: Collection[int],
    memory_limit: int | float,
) -> dict[int, float] | None:
    found = labels.unique(return_counts=True)[1].max() > 1 if gallery is None else torch.isin(labels, of_items).any()
    if not bool(found):
        return None
    scores: tuple[Score] = ("recall",)
    searched = (None, None) if gallery is None else (gallery, of_items)
    return retrieval(points, labels, *searched, space=space, ks=ks, scores=scores, memory_limit=memory_limit).recall


def _shared(levels: Tensor, of_query: Tensor, of_items: Tensor) -> Tensor:
    """(q, Q) at how many levels the classes agree."""
    count = torch.zeros(len(of_query), len(of_items), dtype=torch.uint8, device=levels.device)
    for column in levels.unbind(1):
        count += column[of_query].unsqueeze(1) == column[of_items]
    return count


def _hierarchical_ap(dist: Tensor, shared: Tensor, count: int) -> Float[Tensor, " q"]:
    """(q,) H-AP of each row; NaN where no item is relevant. The query itself is at infinity."""
    ascending, order = tied(dist).sort(dim=1)
    shared, there = shared.gather(1, order), ascending.isfinite()
    rank = torch.searchsorted(ascending, ascending, right=True)
    level = [(shared == number) & there for number in range(1, count + 1)]
    closer = [at.cumsum(1).gather(1, rank - 1) for at in level]  # items of the level up to the end of the tie
    relevance = [number / count / at.sum(1, keepdim=True).clamp(min=1).double() for number, at in enumerate(level, 1)]
    total = torch.zeros(len(dist), dtype=torch.float64, device=dist.device)
    for at, own in zip(level, relevance, strict=True):
        ranked = sum(items * own.minimum(other) for items, other in zip(closer, relevance, strict=True))
        total += torch.where(at, ranked / rank, 0).sum(1)
    weight = torch.cat([own * at.sum(1, keepdim=True) for at, own in zip(level, relevance, strict=True)], 1).sum(1)
    return total / weight.where(weight > 0, torch.nan)
