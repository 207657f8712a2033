"""Ranks from whole rows of distances, in any space and for classes of any size.

Equal embeddings of a gallery tie exactly: each distinct one is handed to the distance once. (A tiled matrix product may
round its columns differently, so that equal inputs get unequal distances.) They are handed over in an order of their
own, so that the order in which a gallery is stored cannot move the last bit of a distance.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from geomdml.metrics.ranking.ranks import Items, Ranks, Ties, ranks_of_hits
from geomdml.search._ties import bounds, tied
from geomdml.spaces import Space

__all__ = ["BYTES", "BySorting"]

_FEW, _LONG = 128, 2**14  # hits that a row is compared with, and items from which on this is faster than to sort it
BYTES = 48  # of memory for a distance: the distance, its copies and, for ties by index, two sorts


class BySorting:
    """Rows of distances, sorted.

    `items` are float32 or float64; `first` and `which` are what is `distinct` of the gallery.
    """

    def __init__(
        self,
        items: Items,
        first: Tensor,
        which: Tensor,
        space: Space,
        ties: Ties,
        depth: Callable[[int], int],
        memory: int | float,
    ) -> None:
        self.items, self.space, self.ties, self.depth, self.memory = items, space, ties, depth, memory
        size, device = len(items.gallery), items.query.device
        self.points = items.gallery[first]
        order = torch.arange(size, device=device) if ties == "index" else which.argsort(stable=True)
        self.place, self.point = order.argsort(), which[order]
        self.relevant = items.relevant._replace(members=self.place[items.relevant.members])

    def rank(self, rows: Tensor, relevant: Tensor) -> Iterator[tuple[Tensor, Ranks]]:
        """Rows of the queries and the ranks of their relevant items, whose number does not fall."""
        size = len(self.items.gallery)
        most = int(relevant[rows].max()) if len(rows) else 0
        needed = BYTES * (size + 2 * most)
        if self.memory < needed:
            raise ValueError(f"memory_limit = {self.memory:.3g}; one query against {size} items takes {needed} bytes")
        for block in rows.split(int(self.memory // needed)):
            yield block, self._rank(block, relevant[block])

    def _rank(self, rows: Tensor, relevant: Tensor) -> Ranks:
        dist = self.space.pairwise_dist(self.items.query[rows], self.points)
        if not bool(dist.amax().isfinite()):
            raise ValueError(
                f"{self.space} gives distances that are NaN or infinite; expected embeddings it can measure"
            )
        if len(self.points) < len(self.point) or self.ties == "index":
            dist = dist[:, self.point]
        if self.items.leave_one_out:
            dist[torch.arange(len(rows), device=dist.device), self.place[rows]] = torch.inf
        if self.ties == "index":
            dist = tied(dist).argsort(dim=-1, stable=True).argsort(dim=-1).double()
        most = int(relevant.max())
        columns, there = self.relevant.items(rows)
        hits = tied(_smallest(dist.gather(1, columns).masked_fill(~there, torch.inf), most))
        return _counts(dist, hits, relevant[:, None], self.depth(most)).ordered(self.ties)


def _counts(dist: Tensor, hits: Tensor, relevant: Tensor, depth: int) -> Ranks:
    """The ranks of relevant items at the distances `hits` among all at `dist`, exact for the first `depth` ranks.

    One item of the list more than `depth` is looked at, to see whether a block of ties goes on behind it.
    """
    low, high = bounds(hits)
    if hits.shape[1] <= _FEW and _LONG <= dist.shape[1] <= 64 * depth:  # the list is long, and much of it is asked for
        closer, level = _compare(dist, low, high)
        return ranks_of_hits(closer, (level - _level(hits)).clamp(min=0), hits, relevant)
    nearest = _smallest(dist, min(depth + 1, dist.shape[-1]))
    last = nearest[:, -1:]
    inside = max(1, int((low <= last).sum(-1).max()))
    hits, low, high = (x[:, :inside].contiguous() for x in (hits, low, high))
    closer, within = torch.searchsorted(nearest, low), torch.searchsorted(nearest, high, right=True)
    level = (low <= last) & (last <= high)
    cut = (level & (closer < depth)).any(-1)
    behind = (dist[cut] <= bounds(last[cut])[1]).sum(-1, keepdim=True)
    within[cut] = within[cut].where(~level[cut], behind)
    return ranks_of_hits(closer, (within - closer - _level(hits)).clamp(min=0), hits, relevant)


def _compare(dist: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """How many of a row are below each `low`, and how many from there up to `high`: faster than to sort a long row.

    On a CPU, NumPy counts the true ones of one row many times faster than those of each row of a matrix.
    """
    if dist.device.type != "cpu":
        closer = torch.stack([(dist < bound[:, None]).sum(1) for bound in low.unbind(1)], 1)
        return closer, torch.stack([(dist <= bound[:, None]).sum(1) for bound in high.unbind(1)], 1) - closer
    counts = np.empty((2, *low.shape), np.int64)
    for i, (row, lows, highs) in enumerate(zip(dist.numpy(), low.numpy(), high.numpy(), strict=True)):
        for j, (least, most) in enumerate(zip(lows, highs, strict=True)):
            counts[:, i, j] = np.count_nonzero(row < least), np.count_nonzero(row <= most)
    closer, within = torch.from_numpy(counts)
    return closer, within - closer


def _level(hits: Tensor) -> Tensor:
    """How many of the sorted numbers of a row are equal to each."""
    return torch.searchsorted(hits, hits, right=True) - torch.searchsorted(hits, hits)


def _smallest(values: Tensor, count: int) -> Tensor:
    """The smallest of each row, ascending.

    On a CPU, NumPy sorts long rows of numbers several times faster than torch sorts them with their indices.
    """
    if values.device.type != "cpu" or count * 64 <= values.shape[-1]:
        return values.topk(count, largest=False).values
    rows = values.numpy()
    if count < rows.shape[-1]:
        rows = np.partition(rows, count - 1)[:, :count]
    return torch.from_numpy(np.sort(rows))
