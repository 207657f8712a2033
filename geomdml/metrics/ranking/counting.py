"""Ranks by counting: of each relevant item, how many others are nearer. No list is sorted, no matrix kept.

The distances of the queries to their own few relevant items are computed one to one. All others are only compared with
these: by inner products in float32 (`geomdml.metrics.ranking.screening`), tile after tile. Those that the rounding of
a product leaves in doubt are computed one to one, too. So the counts are exact, and cost little more than the matrix
product.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geomdml.metrics.ranking.ranks import Items, Ranks, Ties, ranks_of_hits
from geomdml.metrics.ranking.screening import Products
from geomdml.search._matched_pairs import OneToOne
from geomdml.search._ties import bounds, tied

__all__ = ["ByCounting", "COLUMNS", "Doubts", "FEW", "Hits", "QUERIES"]

QUERIES = 1024  # of a tile, which stays in the caches
COLUMNS = 8 * 255  # likewise; a byte counts to 255
FEW = 32  # relevant items of a query; for more of them, sorting is faster
_DOUBTFUL = 1 / 64  # share of a tile; where more are in doubt, distances in float64 are faster
_BYTES = 128  # of memory for a number of a pair that is measured


class Hits(NamedTuple):
    """The relevant items of some queries, nearest first, infinitely far where there are no more."""

    distance: Tensor  # (q, R)
    item: Tensor  # (q, R)
    before: Tensor  # (q, R) how many of them come before


class Doubts(NamedTuple):
    """Pairs of a query and an item that may or may not be nearer than one of its hits."""

    row: Tensor
    item: Tensor
    hit: Tensor


class ByCounting:
    """Comparisons with the distances of relevant items.

    `items` are float32 or float64; `which` says which items of the gallery are equal.
    """

    def __init__(
        self,
        items: Items,
        which: Tensor,
        products: Products,
        ties: Ties,
        depth: Callable[[int], int],
        memory: int | float,
    ) -> None:
        self.items, self.which, self.products, self.ties, self.depth = items, which, products, ties, depth
        self.dist = OneToOne(products.space, items.query, items.gallery)
        self.pairs = max(1, int(memory // (_BYTES * items.query.shape[1])))  # measured at a time
        self.place = products.order.argsort()

    def rank(self, rows: Tensor, relevant: Tensor, nearest: bool) -> Ranks | None:
        """Where the relevant items of these queries stand, of each at least one; None where too much is in doubt.

        Where it is only asked for the `nearest`, the others are left out.
        """
        sides = self.products.rows(self.items.query[rows])
        if sides is None:
            return None
        hits, deep = self._hits(rows), self.depth(int(relevant.max()))
        wanted = hits.distance[:, :1] if nearest else hits.distance
        low, high = sides.bounds(wanted)
        closer, tied = (torch.zeros(wanted.shape, dtype=torch.long, device=rows.device) for _ in range(2))
        own = rows[:, None] if self.items.leave_one_out else hits.item[:, :0]
        measured = torch.cat([self.place[hits.item].masked_fill(hits.distance.isinf(), -1), self.place[own]], 1)
        buffer = self.products.columns.new_empty(len(rows) * COLUMNS)
        for start in range(0, len(self.place), COLUMNS):
            columns = slice(start, min(start + COLUMNS, len(self.place)))
            s = sides.into(buffer[: len(rows) * (columns.stop - start)].view(len(rows), -1), columns)
            row, which = torch.nonzero((measured >= start) & (measured < columns.stop), as_tuple=True)
            s[row, measured[row, which] - start] = -torch.inf
            slack = sides.slack(columns)
            for doubts in self._compare(s, start, low - slack, high + slack, hits, closer, deep):
                if len(doubts.row) > 64 + _DOUBTFUL * s.numel():
                    return None
                self._measure(rows, doubts, hits, closer, tied)
        behind = wanted.isinf()
        closer = (closer + hits.before[:, : wanted.shape[1]]).masked_fill(behind, self.items.length)
        return ranks_of_hits(closer, tied, hits.before, relevant[:, None]).ordered(self.ties)

    def _hits(self, rows: Tensor) -> Hits:
        item, there = self.items.relevant.items(rows)
        if self.items.leave_one_out:
            there &= item != rows[:, None]
        pairs = torch.nonzero(there, as_tuple=True)
        distance = torch.full(item.shape, torch.inf, dtype=self.items.query.dtype, device=rows.device)
        distance[pairs] = self._distances(rows[pairs[0]], item[pairs])
        # Equal points are at equal distances, whatever the last bits of a function were at their two places.
        equal = self.which[item][:, :, None] == self.which[item][:, None, :]
        distance = (
            distance[:, None, :].where(equal & there[:, None, :], torch.inf).amin(-1).masked_fill(~there, torch.inf)
        )
        distance, order = tied(distance).sort(dim=1, stable=True)
        before = torch.searchsorted(distance, distance)
        if self.ties == "index":
            before = torch.arange(distance.shape[1], device=rows.device).repeat(len(rows), 1)
        return Hits(distance, item.gather(1, order), before)

    def _distances(self, rows: Tensor, items: Tensor) -> Tensor:
        """Distances one to one."""
        parts = zip(rows.split(self.pairs), items.split(self.pairs), strict=True)
        return torch.cat([self.dist(row, item) for row, item in parts])

    def _compare(
        self, s: Tensor, start: int, low: Tensor, high: Tensor, hits: Hits, closer: Tensor, deep: int
    ) -> Iterator[Doubts]:
        """Count what is certainly closer than each hit; what may be, and matters, is in doubt."""
        before = hits.before[:, : closer.shape[1]]
        asked = (closer + before < deep) & (low <= s.amax(1, keepdim=True)) & low.isfinite()
        for hit in asked.any(0).nonzero()[:, 0].tolist():
            rows = asked[:, hit].nonzero()[:, 0]
            some = s if 2 * len(rows) > len(s) else s[rows]
            rows = rows if len(some) < len(s) else torch.arange(len(s), device=s.device)
            surely, maybe = _above(some, high[rows, hit, None]), _above(some, low[rows, hit, None], or_equal=True)
            sure, most = _counts(surely), _counts(maybe)
            closer[rows, hit] += sure
            matters = (most > sure) & asked[rows, hit] & (closer[rows, hit] + before[rows, hit] < deep)
            if bool(matters.any()):
                row, column = _entries(maybe ^ surely)
                keep = matters[row]
                row, item = rows[row[keep]], self.products.order[start + column[keep]]
                yield Doubts(row, item, torch.full_like(row, hit))

    def _measure(self, rows: Tensor, doubts: Doubts, hits: Hits, closer: Tensor, tied: Tensor) -> None:
        row, item, hit = doubts
        distance, relevant = self._distances(rows[row], item), hits.item[row, hit]
        low, high = bounds(hits.distance[row, hit])
        equal = (low <= distance) & (distance <= high) | (self.which[item] == self.which[relevant])
        nearer = (distance < low) & ~equal
        if self.ties == "index":
            nearer, equal = nearer | (equal & (item < relevant)), torch.zeros_like(equal)
        closer.index_put_((row, hit), nearer.long(), accumulate=True)
        tied.index_put_((row, hit), equal.long(), accumulate=True)


def _above(s: Tensor, bound: Tensor, or_equal: bool = False) -> Tensor:
    """On a CPU by NumPy, which compares twice as fast."""
    if s.device.type != "cpu":
        return s >= bound if or_equal else s > bound
    compare = np.greater_equal if or_equal else np.greater
    return torch.from_numpy(compare(s.numpy(), bound.numpy()))


def _counts(mask: Tensor) -> Tensor:
    """How many are true in each row: eight at a time, by adding up their bytes as if they were one number."""
    if mask.shape[1] % 8 or mask.shape[1] > 8 * 255:
        return mask.sum(1)
    return mask.view(torch.int64).sum(1, keepdim=True).view(torch.uint8).sum(1)


def _entries(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of the few that are true; on a CPU by NumPy, several times faster."""
    if mask.device.type != "cpu":
        row, column = torch.nonzero(mask, as_tuple=True)
        return row, column
    found = torch.from_numpy(np.flatnonzero(mask.numpy()))
    return found // mask.shape[1], found % mask.shape[1]
