"""How well distances find edges of a taxonomy that training did not see."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from geomdml._core import checks
from geomdml.metrics.ranking.ranks import ranks_of_hits
from geomdml.search._ties import bounds, tied
from geomdml.spaces import Space

__all__ = ["LinkPrediction", "link_prediction"]

_ENTRIES = 2**24  # distances at a time


class LinkPrediction(NamedTuple):
    """`mean_rank` over the held-out pairs, and `map` over the nodes that have any."""

    mean_rank: float
    map: float


def link_prediction(
    points: Float[Tensor, "N D"], held_out: Integer[Tensor, "H 2"], known: Integer[Tensor, "P 2"], *, space: Space
) -> LinkPrediction:
    """Mean rank and mean average precision of the ancestors of each node that were held out.

    For each pair (u, v) held out, the rank of v among v and all nodes that are neither u nor an ancestor of u, known or
    held out; for each u, the average precision of its held-out ancestors among these. Nodes at equal
    distances count by the mean over all their orders, as in `reconstruction`.

    Args:
        points: (N, D) embeddings in the space's chart.
        held_out: (H, 2) pairs (node, ancestor) that training did not see.
        known: (P, 2) pairs that it saw: neither right nor wrong.
        space: whose `pairwise_dist` ranks.

    Raises:
        ValueError: pairs of another shape, nodes outside 0…N−1, no pair held out, NaN or infinite embeddings.
        TypeError: pairs that are not integers.

    Source: Nickel and Kiela, "Poincaré embeddings for learning hierarchical representations" (2017), section 4.1.

    >>> from geomdml.spaces import Euclidean
    >>> line = torch.tensor([[0.0], [1.0], [3.0], [4.0]])
    >>> link_prediction(line, torch.tensor([[3, 0]]), torch.tensor([[3, 2]]), space=Euclidean())
    LinkPrediction(mean_rank=2.0, map=0.5)
    """
    checks.rows(points=points)
    checks.finite(points=points)
    count = len(points)
    for name, pairs in (("held_out", held_out), ("known", known)):
        if pairs.is_floating_point() or pairs.is_complex() or pairs.dtype == torch.bool:
            raise TypeError(f"{name} has dtype {pairs.dtype}; expected integers")
        if pairs.ndim != 2 or pairs.shape[1] != 2:
            raise ValueError(f"{name} has shape {tuple(pairs.shape)}; expected (count, 2), pairs (node, ancestor)")
        if len(pairs) and not 0 <= int(pairs.min()) <= int(pairs.max()) < count:
            raise ValueError(f"{name} goes from {int(pairs.min())} to {int(pairs.max())}; expected 0 to {count - 1}")
    if not len(held_out):
        raise ValueError("held_out has no pairs; expected at least one")
    held_out, known = (pairs.unique(dim=0).to(points.device) for pairs in (held_out.long(), known.long()))
    ranks, precisions = [], []
    for nodes in held_out[:, 0].unique().split(max(1, _ENTRIES // count)):
        with torch.no_grad():
            dist = space.pairwise_dist(points[nodes], points)
        others = dist.clone()
        others[torch.arange(len(nodes)), nodes] = torch.inf
        for pairs in (held_out, known):
            rows, ancestors = _of(nodes, pairs)
            others[rows, ancestors] = torch.inf
        rows, ancestors = _of(nodes, held_out)
        for row in range(len(nodes)):
            asked = tied(dist[row, ancestors[rows == row]][None]).sort().values
            low, high = bounds(asked.T)
            nearer = (others[row] < low).sum(1)
            level = (others[row] <= high).sum(1) - nearer
            count_asked = level.new_tensor([[len(level)]])
            found = ranks_of_hits(nearer + torch.searchsorted(asked, asked), level, asked, count_asked)
            ranks.append(1 + nearer + level.double() / 2)
            precisions.append(found.average_precision(count))
    return LinkPrediction(float(torch.cat(ranks).mean()), float(torch.cat(precisions).mean()))


def _of(nodes: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """The pairs of some nodes, ascending: the places of their nodes among these, and their ancestors."""
    some = pairs[torch.isin(pairs[:, 0], nodes)]
    return torch.searchsorted(nodes, some[:, 0].contiguous()), some[:, 1]
