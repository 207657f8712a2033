"""How well distances give a taxonomy back: mean rank and MAP."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from geomdml._core import checks
from geomdml.metrics.ranking import MEMORY, rank
from geomdml.metrics.ranking.ranks import Items, total
from geomdml.metrics.ranking.relevant import Relevant
from geomdml.spaces import Space

__all__ = ["Reconstruction", "reconstruction"]


class Reconstruction(NamedTuple):
    """`mean_rank` over the pairs and `map` over the nodes that have ancestors; and both for each of these nodes."""

    mean_rank: float
    map: float
    nodes: Tensor  # (n,) ascending
    ranks: Tensor  # (n,) mean rank of a node's ancestors
    precisions: Tensor  # (n,) average precision of a node's ancestors


def reconstruction(
    points: Float[Tensor, "N D"],
    ancestors: Integer[Tensor, "P 2"],
    *,
    space: Space | None = None,
    memory_limit: int | float = MEMORY,
) -> Reconstruction:
    """Mean rank and mean average precision of each node's ancestors among all nodes, nearest first.

    For each pair (u, v) of a node and an ancestor, the rank of v among v and all nodes that are neither u nor ancestors
    of u; and for each u, the average precision of its ancestors among all other nodes. Nodes at equal distances (in
    float64: to 1e-13) count by the exact mean over all their orders.

    Args:
        points: (N, D) embeddings in the space's chart; without a space, an (N, N) matrix of distances, row by row.
        ancestors: (P, 2) pairs (node, ancestor), as `closure` gives them. The pairs of some nodes score these alone,
            among all N.
        space: whose `pairwise_dist` ranks; None takes `points` as distances.
        memory_limit: bytes to work in, beside the embeddings: never the whole matrix.

    Raises:
        ValueError: shapes that do not match, nodes outside 0…N−1, no pairs, NaN or infinite embeddings or distances.
        TypeError: pairs that are not integers.

    Source: Nickel and Kiela, "Poincaré embeddings for learning hierarchical representations" (2017), section 4.1.

    >>> from geomdml.spaces import Euclidean
    >>> line, chain = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[1, 0], [2, 0], [2, 1]])
    >>> found = reconstruction(line, chain, space=Euclidean())
    >>> found.mean_rank, round(found.map, 9)
    (1.0, 1.0)
    >>> reconstruction(line, torch.tensor([[2, 0]]), space=Euclidean()).mean_rank
    2.0
    """
    checks.rows(points=points)
    count = len(points)
    if ancestors.is_floating_point() or ancestors.is_complex() or ancestors.dtype == torch.bool:
        raise TypeError(f"ancestors has dtype {ancestors.dtype}; expected integers")
    if ancestors.ndim != 2 or ancestors.shape[1] != 2 or not len(ancestors):
        raise ValueError(f"ancestors has shape {tuple(ancestors.shape)}; expected (P, 2), pairs (node, ancestor)")
    if not 0 <= int(ancestors.min()) <= int(ancestors.max()) < count:
        ends = int(ancestors.min()), int(ancestors.max())
        raise ValueError(f"ancestors go from {ends[0]} to {ends[1]}; expected 0 to {count - 1}")
    checks.finite(points=points)
    if space is None:
        if points.shape[1] != count:
            raise ValueError(f"points has shape {tuple(points.shape)}; expected a space, or a square matrix")
        space, points = _Table(points), torch.arange(count, dtype=torch.float64, device=points.device)[:, None]
    key = (ancestors[:, 0].long() * count + ancestors[:, 1]).unique().to(points.device)
    pairs = torch.stack([key // count, key % count])
    items = Items(points, points, Relevant.of_pairs(pairs, count, own=True), leave_one_out=True)
    rows, scores = [], []
    with torch.no_grad():
        for block, ranks in rank(items, space, "expected", lambda R: items.length, memory_limit=memory_limit):
            others = ranks.closer - ranks.hits_closer + (ranks.tied - ranks.hits_tied) / 2
            there = torch.arange(others.shape[1], device=others.device) < ranks.relevant
            rank_sum = total((1 + others).where(there, 0))
            rows.append(block)
            scores.append(torch.stack([rank_sum, ranks.relevant[:, 0], ranks.average_precision(items.length)]))
    nodes, order = torch.cat(rows).sort()
    rank_sums, pair_counts, precisions = torch.cat(scores, 1)[:, order]
    return Reconstruction(
        mean_rank=float(rank_sums.sum() / pair_counts.sum()),
        map=float(precisions.mean()),
        nodes=nodes,
        ranks=rank_sums / pair_counts,
        precisions=precisions,
    )


class _Table:
    """A space whose points are the numbers of rows and columns of a matrix of distances."""

    def __init__(self, table: Tensor) -> None:
        self.table = table

    def pairwise_dist(self, x: Tensor, y: Tensor) -> Tensor:
        return self.table[x.long(), y.long().T]

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        return self.table[x.long().squeeze(-1), y.long().squeeze(-1)]
