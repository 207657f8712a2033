"""Where the relevant items of a query stand among the others: what every retrieval score here is computed from.

For each relevant item, nearest first, let N items of the gallery be strictly closer and n be at its distance (itself
included), of which H and r are relevant. Without ties n = r = 1, the item has rank N + 1, and the precision there is
(H + 1)/(N + 1). With ties the n items may come in any order; a score is its mean over all of them, in closed form. So
no ranked list is ever built.

The four rules for ties: "expected", that mean, is computed by `Ranks.hits`, by `average_precision` and by the scores
themselves; "optimistic" and "pessimistic" put relevant items first or last, in `Ranks.ordered`; "index" is the order
of the gallery, which `counting` and `sorting` keep.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from geomdml._core import checks
from geomdml.metrics.ranking.relevant import Relevant

__all__ = ["Items", "Ranks", "Ties", "ranks_of_hits", "total"]

Ties = Literal["expected", "optimistic", "pessimistic", "index"]


class Items(NamedTuple):
    """Queries and the gallery that they search; without one, each query searches all the others."""

    query: Tensor  # (Q, D)
    gallery: Tensor  # (P, D)
    relevant: Relevant
    leave_one_out: bool

    @classmethod
    def checked(cls, query: Tensor, labels: Tensor, gallery: Tensor | None, gallery_labels: Tensor | None) -> "Items":
        by_matrix = isinstance(labels, Tensor) and labels.ndim == 2
        if by_matrix and gallery_labels is not None:
            raise ValueError("labels is a matrix of relevance and gallery_labels are given; expected one or the other")
        if not by_matrix and (gallery is None) != (gallery_labels is None):
            raise ValueError("gallery and gallery_labels go together; expected both or neither")
        leave_one_out = gallery is None
        gallery = query if gallery is None else gallery
        checks.rows(query=query, gallery=gallery)
        checks.finite(query=query, gallery=gallery)
        if by_matrix:
            shape = len(query), len(gallery)
            relevant = Relevant.of_matrix(labels, shape, own=leave_one_out, device=query.device)
        else:
            gallery_labels = labels if gallery_labels is None else gallery_labels
            checks.labels(len(query), labels=labels)
            checks.labels(len(gallery), gallery_labels=gallery_labels)
            relevant = Relevant.of_classes(labels, gallery_labels, own=leave_one_out, device=query.device)
        return cls(query, gallery, relevant, leave_one_out)

    @property
    def length(self) -> int:
        """How many items a query is answered with."""
        return len(self.gallery) - int(self.leave_one_out)


class Ranks(NamedTuple):
    """Where the relevant items of each query stand, nearest first: counts as (query, item) tensors of float64.

    A row with fewer relevant items than the longest is filled up with items behind the whole list, which score 0.
    """

    closer: Tensor  # N, items strictly closer
    tied: Tensor  # n, items at this distance
    hits_closer: Tensor  # H, relevant items strictly closer
    hits_tied: Tensor  # r, relevant items at this distance
    relevant: Tensor  # R, (query, 1)

    def hits(self, depth: Tensor | int) -> Tensor:
        """How many relevant items are expected among the first `depth`: each by the share of its block that is.

        The depth is at most the length of the list: behind it come the items that fill a row up.
        """
        return total(((depth - self.closer) / self.tied).clamp(0, 1))

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
        return total(precisions / (n * R))

    def ordered(self, ties: Ties) -> "Ranks":
        """With ties broken, relevant items first ("optimistic") or last ("pessimistic"), or as they are."""
        if ties not in ("optimistic", "pessimistic"):
            return self
        before = torch.arange(self.closer.shape[1], device=self.closer.device).expand_as(self.closer)
        behind = self.tied - self.hits_tied if ties == "pessimistic" else 0
        closer, one = self.closer + before - self.hits_closer + behind, torch.ones_like(self.tied)
        return Ranks(closer, one, before.double(), one, self.relevant)


def total(terms: Tensor) -> Tensor:
    """Sums over the last dimension, one term after another: what a row is filled up with cannot move the last bit."""
    return terms.cumsum(-1)[..., -1]


def ranks_of_hits(closer: Tensor, others_tied: Tensor, hits: Tensor, relevant: Tensor) -> Ranks:
    """From the sorted distances of the relevant items, how many items are closer, and how many others are level."""
    hits_closer = torch.searchsorted(hits, hits)[:, : closer.shape[1]]
    hits_tied = torch.searchsorted(hits, hits, right=True)[:, : closer.shape[1]] - hits_closer
    counts = (closer, others_tied + hits_tied, hits_closer, hits_tied, relevant)
    return Ranks(*(count.double() for count in counts))
