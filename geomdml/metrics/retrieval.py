"""Retrieval scores, exact under ties: Recall@k, R-precision, MAP@R and mAP.

Every score follows from where a query's relevant items stand. For each of them, nearest first, let N items of
the gallery be strictly closer and n be at its distance (itself included), of which H and r are relevant. Without
ties n = r = 1, the item has rank N + 1, and the precision there is (H + 1)/(N + 1). With ties the n items may
come in any order; a score is its mean over all of them, in closed form. So no ranked list is ever built: sorted
distances are enough.

Equal embeddings of a gallery tie exactly, in any space: each distinct one is handed to the distance once. (A
tiled matrix product may round its columns differently, so that equal inputs get unequal distances.) They are
handed over in sorted order, so that the order in which a gallery is stored cannot move the last bit of a distance.
"""

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from geomdml import checks
from geomdml.numerics import result_dtype
from geomdml.spaces import Euclidean, Space

Score = Literal["recall", "r_precision", "map_at_r", "mean_ap"]
Ties = Literal["expected", "optimistic", "pessimistic", "index"]

CHUNK = 2**23  # distances at a time: 64 MB in the float64 in which the spaces compute


class RetrievalScores(NamedTuple):
    """Means over the `queries` that have a relevant item; None for a score that was not asked for."""

    recall: dict[int, float] | None
    r_precision: float | None
    map_at_r: float | None
    mean_ap: float | None
    queries: int


def retrieval(
    query: Float[Tensor, "Q D"],
    labels: Integer[Tensor, " Q"],
    gallery: Float[Tensor, "P D"] | None = None,
    gallery_labels: Integer[Tensor, " P"] | None = None,
    *,
    space: Space | None = None,
    ks: Collection[int] = (1, 2, 4, 8),
    scores: Collection[Score] = ("recall", "r_precision", "map_at_r"),
    ties: Ties = "expected",
) -> RetrievalScores:
    """How well the nearest neighbours of the queries share their class.

    With R relevant items (those of the query's class) in the gallery, rel(i) the relevance at rank i and P(i) the
    share of relevant items among the first i:

    - `recall`: for each k, the share of queries with a relevant item among the first k; 1 from k = P on.
    - `r_precision`: P(R).
    - `map_at_r`: Σ P(i)·rel(i) / R over i ≤ R.
    - `mean_ap`: the same over the whole list. It alone needs the whole order, and so is not a default.

    Args:
        query, labels: (Q, D) embeddings and their classes, integers of any size.
        gallery, gallery_labels: (P, D) embeddings to search. Without them each query searches all the others: it
            is left out itself, by its index, and embeddings equal to it are not.
        space: whose `pairwise_dist` ranks; None is Euclidean.
        ks: the k of Recall@k.
        scores: which scores to compute.
        ties: how items at exactly equal distances are ranked. "expected" is the exact mean over all their orders;
            "optimistic" has the relevant ones first, "pessimistic" last; "index" has them as they are stored, the
            one rule under which the order of the gallery matters. Equal embeddings always tie.

    Returns:
        Means over the queries with R > 0, and the number of these.

    Raises:
        ValueError: shapes that do not match, NaN or infinite embeddings or distances, no query with a relevant
            item, an unknown score or tie rule, a k < 1.
        TypeError: embeddings that are not floating point, labels or ks that are not integers.

    Memory is bounded: the distances of one block of queries at a time, whatever Q is.

    Source: MAP@R from Musgrave et al., "A metric learning reality check" (2020), section 3.2; expectations under
    ties as in McSherry and Najork, "Computing information retrieval performance measures efficiently in the
    presence of tied scores" (2008).

    >>> embeddings = torch.tensor([[0.0], [1.0], [3.0], [10.0], [11.0]])
    >>> result = retrieval(embeddings, torch.tensor([0, 0, 1, 1, 1]), ks=(1, 3), scores=("recall", "r_precision"))
    >>> result.recall
    {1: 0.8, 3: 1.0}
    >>> result.r_precision, result.map_at_r, result.queries
    (0.8, None, 5)
    """
    if ties not in get_args(Ties):
        raise ValueError(f"ties = {ties!r}; want one of {', '.join(map(repr, get_args(Ties)))}")
    if (gallery is None) != (gallery_labels is None):
        raise ValueError("gallery and gallery_labels go together; want both or neither")
    leave_one_out = gallery is None
    if gallery is None or gallery_labels is None:
        gallery, gallery_labels = query, labels
    checks.pairs(query=query, gallery=gallery)
    checks.finite(query=query, gallery=gallery)
    checks.labels(len(query), labels=labels)
    checks.labels(len(gallery), gallery_labels=gallery_labels)

    length = len(gallery) - int(leave_one_out)
    wanted = _score_functions(scores, ks, length)

    def depth(R: int) -> int:
        ranks = {"recall": max(ks, default=0), "r_precision": R, "map_at_r": R, "mean_ap": length}
        return min(length, max(ranks[score] for score in scores))

    with torch.no_grad():
        standings = _standings(query, labels, gallery, gallery_labels, leave_one_out, space or Euclidean(), ties, depth)
        per_query = [torch.stack([score(standing) for score in wanted.values()], -1) for standing in standings]
    mean = dict(zip(wanted, torch.cat(per_query).mean(0).tolist(), strict=True))
    return RetrievalScores(
        recall={k: mean[k] for k in ks} if "recall" in scores else None,
        r_precision=mean.get("r_precision"),
        map_at_r=mean.get("map_at_r"),
        mean_ap=mean.get("mean_ap"),
        queries=sum(map(len, per_query)),
    )


class _Standing(NamedTuple):
    """Where the relevant items of each query stand, nearest first: counts as (query, item) tensors of float64.

    A row with fewer relevant items than the longest is filled up with items behind the whole list, which score 0.
    """

    closer: Tensor  # N, items strictly closer
    tied: Tensor  # n, items at this distance
    hits_closer: Tensor  # H, relevant items strictly closer
    hits_tied: Tensor  # r, relevant items at this distance
    relevant: Tensor  # R, (query, 1)


def _score_functions(
    scores: Collection[Score], ks: Collection[int], length: int
) -> dict[str | int, Callable[[_Standing], Tensor]]:
    """The scores asked for, by name (Recall@k by its k), each a function to one number a query."""
    if not scores or not set(scores) <= set(get_args(Score)):
        names = ", ".join(map(repr, get_args(Score)))
        raise ValueError(f"scores = {scores!r}; want a tuple of one or more of {names}")
    functions: dict[str | int, Callable[[_Standing], Tensor]] = {}
    if "recall" in scores:
        if any(isinstance(k, bool) or not isinstance(k, int) for k in ks):
            raise TypeError(f"ks = {ks!r}; want integers")
        if not ks or min(ks) < 1:
            raise ValueError(f"ks = {ks!r}; want one or more integers ≥ 1")
        functions |= {k: partial(_recall, k=k) for k in ks}
    if "r_precision" in scores:
        functions["r_precision"] = _r_precision
    if "map_at_r" in scores:
        functions["map_at_r"] = lambda standing: _average_precision(standing, standing.relevant)
    if "mean_ap" in scores:
        functions["mean_ap"] = lambda standing: _average_precision(standing, length)
    return functions


def _recall(standing: _Standing, k: int) -> Tensor:
    """1 − C(n − r, m)/C(n, m), where m items of the nearest relevant item's block come within the first k."""
    N, n, _, r, _ = (count[:, 0] for count in standing)
    m = (k - N).clamp(min=0).minimum(n)
    # lgamma is infinite at the integers ≤ 0, which makes a miss impossible where m > n − r
    log_miss = (n - r + 1).lgamma() - (n - r - m + 1).lgamma() - (n + 1).lgamma() + (n - m + 1).lgamma()
    return 1 - log_miss.exp()


def _r_precision(standing: _Standing) -> Tensor:
    """Each relevant item counts by the share of its block that comes within the first R."""
    N, n, _, _, R = standing
    return (((R - N) / n).clamp(0, 1) / R).sum(-1)


def _average_precision(standing: _Standing, depth: Tensor | int) -> Tensor:
    """Σ P(i)·rel(i) / R over the ranks i ≤ depth.

    A relevant item is at each rank i = N + t of its block, t = 1…n, with probability 1/n; then the first i are
    expected to hold 1 + H + (t − 1)(r − 1)/(n − 1) hits. Over the m ranks within the depth, Σ 1/(N + t) is a
    difference of digammas, and Σ (t − 1)/(N + t) = m − (N + 1)·Σ 1/(N + t).
    """
    N, n, H, r, R = standing
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


def _standings(
    query: Tensor,
    labels: Tensor,
    gallery: Tensor,
    gallery_labels: Tensor,
    leave_one_out: bool,
    space: Space,
    ties: Ties,
    depth: Callable[[int], int],
) -> Iterator[_Standing]:
    """Where the relevant items stand, one block of queries after another; ranks beyond depth(R) are left open."""
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


def _stand(dist: Tensor, hits: Tensor, relevant: Tensor, ties: Ties, depth: int) -> _Standing:
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
    return _Standing(*(count.double() for count in (closer, tied, hits_closer, hits_tied, relevant)))


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
