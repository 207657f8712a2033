"""Where the relevant items of a query stand among the others: what every retrieval score here is computed from.

For each relevant item, nearest first, let N items of the gallery be strictly closer and n be at its distance (itself
included), of which H and r are relevant. Without ties n = r = 1, the item has rank N + 1, and the precision there is
(H + 1)/(N + 1). With ties the n items may come in any order; a score is its mean over all of them, in closed form. So
no ranked list is ever built: sorted distances are enough.

Equal embeddings of a gallery tie exactly, in any space: each distinct one is handed to the distance once. (A
tiled matrix product may round its columns differently, so that equal inputs get unequal distances.) They are
handed over in sorted order, so that the order in which a gallery is stored cannot move the last bit of a distance.
"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from geomdml import checks
from geomdml.numerics import result_dtype
from geomdml.spaces import Euclidean, Space

Ties = Literal["expected", "optimistic", "pessimistic", "index"]

CHUNK = 2**23  # distances at a time: 64 MB in the float64 in which the spaces compute


class Items(NamedTuple):
    """Queries and the gallery that they search; without one, each query searches all the others."""

    query: Tensor  # (Q, D)
    labels: Tensor  # (Q,)
    gallery: Tensor  # (P, D)
    gallery_labels: Tensor  # (P,)
    leave_one_out: bool

    @classmethod
    def checked(cls, query: Tensor, labels: Tensor, gallery: Tensor | None, gallery_labels: Tensor | None) -> "Items":
        if (gallery is None) != (gallery_labels is None):
            raise ValueError("gallery and gallery_labels go together; want both or neither")
        leave_one_out = gallery is None
        if gallery is None or gallery_labels is None:
            gallery, gallery_labels = query, labels
        checks.pairs(query=query, gallery=gallery)
        checks.finite(query=query, gallery=gallery)
        checks.labels(len(query), labels=labels)
        checks.labels(len(gallery), gallery_labels=gallery_labels)
        return cls(query, labels, gallery, gallery_labels, leave_one_out)

    @property
    def length(self) -> int:
        """How many items a query is answered with."""
        return len(self.gallery) - int(self.leave_one_out)


class Standing(NamedTuple):
    """Where the relevant items of each query stand, nearest first: counts as (query, item) tensors of float64.

    A row with fewer relevant items than the longest is filled up with items behind the whole list, which score 0.
    """

    closer: Tensor  # N, items strictly closer
    tied: Tensor  # n, items at this distance
    hits_closer: Tensor  # H, relevant items strictly closer
    hits_tied: Tensor  # r, relevant items at this distance
    relevant: Tensor  # R, (query, 1)

    def hits(self, depth: Tensor | int) -> Tensor:
        """How many relevant items are expected among the first `depth`: each by the share of its block that is."""
        return ((depth - self.closer) / self.tied).clamp(0, 1).sum(-1)

    def average_precision(self, depth: Tensor | int) -> Tensor:
        """Σ P(i)·rel(i) / R over the ranks i ≤ depth.

        A relevant item is at each rank i = N + t of its block, t = 1…n, with probability 1/n; then the first i are
        expected to hold 1 + H + (t − 1)(r − 1)/(n − 1) hits. Over the m ranks within the depth, Σ 1/(N + t) is a
        difference of digammas, and Σ (t − 1)/(N + t) = m − (N + 1)·Σ 1/(N + t).
        """
        N, n, H, r, R = self
        m = (depth - N).clamp(min=0).minimum(n)
        reciprocals = (N + m + 1).digamma() - (N + 1).digamma()
        precisions = (1 + H) * reciprocals + (r - 1) / (n - 1).clamp(min=1) * (m - (N + 1) * reciprocals)
        return (precisions / (n * R)).sum(-1)


class _Classes(NamedTuple):
    """Which items of the gallery are of which class."""

    population: Tensor  # (class,) number of items
    first: Tensor  # (class,) where the class begins in `members`
    members: Tensor  # (P,) the items, class after class

    @classmethod
    def of(cls, label: Tensor, count: int) -> "_Classes":
        population = label.bincount(minlength=count)
        return cls(population, population.cumsum(0) - population, label.argsort())

    def distances(self, dist: Tensor, label: Tensor, most: int) -> Tensor:
        """The `most` smallest distances of each query to its class, ascending, infinite where there are fewer."""
        population, first = self.population[label, None], self.first[label, None]
        slot = torch.arange(int(population.max()), device=dist.device)
        columns = self.members[(first + slot).clamp(max=len(self.members) - 1)]
        return _smallest(dist.gather(1, columns).masked_fill(slot >= population, torch.inf), most)


def standings(items: Items, space: Space | None, ties: Ties, depth: Callable[[int], int]) -> Iterator[Standing]:
    """Where the relevant items stand, one block of queries after another, queries without any left out.

    Ranks beyond depth(R) are left open. Memory is bounded: the distances of one block at a time.
    """
    query, labels, gallery, gallery_labels, leave_one_out = items
    space = space or Euclidean()
    dtype, device, size = result_dtype(query, gallery), query.device, len(gallery)
    points, point = torch.unique(gallery.to(device, dtype), dim=0, return_inverse=True)
    order = torch.arange(size, device=device) if ties == "index" else point.argsort()
    place, point = order.argsort(), point[order]

    both = torch.cat([labels.to(device, torch.int64), gallery_labels.to(device, torch.int64)])
    _, label = torch.unique(both, return_inverse=True)
    label, gallery_label = label[: len(query)], label[len(query) :][order]
    classes = _Classes.of(gallery_label, count=len(both))

    relevant = classes.population[label] - int(leave_one_out)
    rows = order if leave_one_out else torch.arange(len(query), device=device)
    rows = rows[relevant[rows] > 0]
    if not len(rows):
        raise ValueError("no query has a relevant item; want another item of its class for at least one of them")
    rows = rows[relevant[rows].argsort(stable=True)]  # small classes do not wait for the large

    for block in rows.split(max(1, CHUNK // (size + 16 * int(relevant.max())))):
        dist = space.pairwise_dist(query[block].to(dtype), points)
        if not bool(dist.amax().isfinite()):
            raise ValueError(f"{space} gives distances that are NaN or infinite; want embeddings it can measure")
        if len(points) < size or ties == "index":
            dist = dist[:, point]
        if leave_one_out:
            dist[torch.arange(len(block), device=device), place[block]] = torch.inf
        if ties == "index":
            dist = dist.argsort(dim=-1, stable=True).argsort(dim=-1).double()
        most = int(relevant[block[-1]])
        hits = classes.distances(dist, label[block], most)
        yield _stand(dist, hits, relevant[block, None], ties, depth(most))


def _stand(dist: Tensor, hits: Tensor, relevant: Tensor, ties: Ties, depth: int) -> Standing:
    """The standing of relevant items at the distances `hits` among all at `dist`, exact for the first `depth` ranks.

    One item of the list more than `depth` is looked at, to see whether a block of ties goes on behind it.
    """
    nearest = _smallest(dist, min(depth + 1, dist.shape[-1]))
    last = nearest[:, -1:]
    hits = hits[:, : max(1, int((hits <= last).sum(-1).max()))].contiguous()
    closer, within = torch.searchsorted(nearest, hits), torch.searchsorted(nearest, hits, right=True)
    cut = ((hits == last) & (closer < depth)).any(-1)
    within[cut] = within[cut].where(hits[cut] != last[cut], (dist[cut] <= last[cut]).sum(-1, keepdim=True))

    hits_closer = torch.searchsorted(hits, hits)
    hits_tied = torch.searchsorted(hits, hits, right=True) - hits_closer
    tied = (within - closer).maximum(hits_tied)
    if ties in ("optimistic", "pessimistic"):
        before = torch.arange(hits.shape[-1], device=hits.device).expand_as(hits)
        closer = closer + before - hits_closer + (tied - hits_tied if ties == "pessimistic" else 0)
        tied = hits_tied = torch.ones_like(tied)
        hits_closer = before
    return Standing(*(count.double() for count in (closer, tied, hits_closer, hits_tied, relevant)))


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
