"""The scores of the SHREC contests on shape retrieval, exact under ties.

Every score follows from where a query's relevant items stand (`geomdml.metrics.ranking.ranks`).
"""

import math
from collections.abc import Callable, Collection
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from geomdml.metrics.ranking import MEMORY, rank
from geomdml.metrics.ranking.ranks import Items, Ranks, total
from geomdml.spaces import Space

__all__ = ["ShrecScore", "ShrecScores", "shrec"]

_LEVELS = 20  # of recall: 0.05, 0.10, …, 1.00
_FIRST_PAGE = 32  # results that the E-measure looks at
_PLACES = 2**20  # of a hit among ties, at a time


ShrecScore = Literal["nn", "ft", "st", "e", "dcg", "mean_ap", "precision"]


class ShrecScores(NamedTuple):
    """Means over the `queries` that have a relevant item; `precision` at each `recall` is the curve.

    None for a score that was not asked for.
    """

    nn: float | None
    ft: float | None
    st: float | None
    e: float | None
    dcg: float | None
    mean_ap: float | None
    precision: tuple[float, ...] | None
    recall: tuple[float, ...]
    queries: int


def shrec(
    query: Float[Tensor, "Q D"],
    labels: Integer[Tensor, " Q"],
    gallery: Float[Tensor, "P D"] | None = None,
    gallery_labels: Integer[Tensor, " P"] | None = None,
    *,
    space: Space | None = None,
    scores: Collection[ShrecScore] = get_args(ShrecScore),
    memory_limit: int | float = MEMORY,
) -> ShrecScores:
    """How well the nearest neighbours of the queries share their class, by the scores of SHREC.

    With R relevant items (those of the query's class) in a gallery of n, rel(i) the relevance at rank i and h hits
    among the first min(32, n):

    - `nn`, nearest neighbour: rel(1).
    - `ft`, `st`, first and second tier: the share of the R found among the first R, and among the first min(2R, n).
    - `e`, E-measure: 2h/(min(32, n) + R), the harmonic mean of precision and recall there.
    - `dcg`: (rel(1) + Σ_{i≥2} rel(i)/log2 i) / (1 + Σ_{i=2…R} 1/log2 i).
    - `mean_ap`: Σ P(i)·rel(i) / R, P(i) the share of relevant items among the first i.
    - `precision`: at each of the 20 levels ρ of `recall`, P(i) at the first rank i where the share found reaches ρ,
      that of the ⌈ρR⌉-th relevant item: a curve interpolated by steps, as in the SHREC evaluation code. (TREC's takes
      the best precision from there on.)

    Items at equal distances (in float64: to 1e-13) count by the exact mean over all their orders.

    Args:
        query, labels: (Q, D) embeddings and their classes, integers of any size.
        gallery, gallery_labels: (P, D) embeddings to search. Without them each query searches all the others: it
            is left out itself, by its index, and embeddings equal to it are not.
        space: whose `pairwise_dist` ranks; None is Euclidean.
        scores: which scores to compute; without dcg, mean_ap and precision, only the head of each list is looked at.
        memory_limit: as in `geomdml.metrics.retrieval`.

    Returns:
        Means over the queries with R > 0, and the number of these.

    Raises:
        ValueError, TypeError: as `geomdml.metrics.retrieval`; an unknown score.

    Source: Shilane et al., "The Princeton Shape Benchmark" (2004), section 4; Li et al., "SHREC'13 track: large scale
    sketch-based 3D shape retrieval" (2013).

    >>> embeddings = torch.tensor([[0.0], [1.0], [3.0], [10.0], [11.0]])
    >>> scores = shrec(embeddings, torch.tensor([0, 0, 1, 1, 1]))
    >>> scores.nn, round(scores.ft, 4), scores.st, round(scores.precision[-1], 4)
    (0.8, 0.8, 1.0, 0.9)
    """
    items = Items.checked(query, labels, gallery, gallery_labels)
    if isinstance(scores, str) or not scores or not set(scores) <= set(get_args(ShrecScore)):
        raise ValueError(f"scores = {scores!r}; expected one or more of {', '.join(map(repr, get_args(ShrecScore)))}")
    functions = {name: f for name, f in _functions(items.length).items() if name in scores}
    page = min(_FIRST_PAGE, items.length)

    def depth(R: int) -> int:
        ranks = {"nn": 1, "ft": R, "st": 2 * R, "e": page}
        return min(items.length, max(ranks.get(score, items.length) for score in scores))

    with torch.no_grad():
        found = rank(items, space, "expected", depth, memory_limit=memory_limit)
        per_query = torch.cat([torch.cat([f(ranks) for f in functions.values()], -1) for _, ranks in found])
    means = [math.fsum(score) / len(score) for score in per_query.T.tolist()]
    mean = dict(zip(functions, means, strict=False))
    return ShrecScores(
        nn=mean.get("nn"),
        ft=mean.get("ft"),
        st=mean.get("st"),
        e=mean.get("e"),
        dcg=mean.get("dcg"),
        mean_ap=mean.get("mean_ap"),
        precision=tuple(means[-_LEVELS:]) if "precision" in scores else None,
        recall=tuple(level / _LEVELS for level in range(1, _LEVELS + 1)),
        queries=len(per_query),
    )


def _functions(length: int) -> dict[str, Callable[[Ranks], Tensor]]:
    """Each score as (q, 1), the precision last and as (q, levels)."""
    page = min(_FIRST_PAGE, length)
    return {
        "nn": lambda ranks: ranks.hits(1)[:, None],
        "ft": lambda ranks: ranks.hits(ranks.relevant)[:, None] / ranks.relevant,
        "st": lambda ranks: ranks.hits((2 * ranks.relevant).clamp(max=length))[:, None] / ranks.relevant,
        "e": lambda ranks: 2 * ranks.hits(page)[:, None] / (page + ranks.relevant),
        "dcg": lambda ranks: _discounted_gain(ranks, length)[:, None],
        "mean_ap": lambda ranks: ranks.average_precision(length)[:, None],
        "precision": _precision_at_recall,
    }


def _discounted_gain(ranks: Ranks, length: int) -> Tensor:
    """A relevant item gains 1 at rank 1 and 1/log2 i at rank i: here the mean over the ranks of its block."""
    rank = torch.arange(1, length + 1, dtype=torch.float64, device=ranks.closer.device)
    gain = torch.cat([rank.new_zeros(1), 1 / rank.log2().clamp(min=1)]).cumsum(0)
    first, last = (place.clamp(max=length).long() for place in (ranks.closer, ranks.closer + ranks.tied))
    return total((gain[last] - gain[first]) / ranks.tied) / gain[ranks.relevant[:, 0].long()]


def _precision_at_recall(ranks: Ranks) -> Tensor:
    """k/rank of the k-th relevant item, k = ⌈ρR⌉, for each level ρ of recall."""
    R = ranks.relevant.long()
    k = (torch.arange(1, _LEVELS + 1, device=R.device) * R + _LEVELS - 1) // _LEVELS
    N, n, H, r = (count.gather(1, k - 1).long() for count in ranks[:4])
    j = k - H
    reciprocal = 1 / (N + j).double()
    mixed = r < n
    if mixed.any():
        cases, case = torch.unique(torch.stack([N, n, r, j], -1)[mixed], dim=0, return_inverse=True)
        reciprocal[mixed] = _reciprocal_ranks(*cases.T)[case]
    return k * reciprocal


def _reciprocal_ranks(N: Tensor, n: Tensor, r: Tensor, j: Tensor) -> Tensor:
    """E[1/(N + T)], where T is the place of the j-th of r relevant items among n in random order.

    P(T = t) = C(t − 1, j − 1)·C(n − t, r − j) / C(n, r) for t = j, …, j + n − r.
    """
    log_factorial = torch.arange(1, int(n.max()) + 2, dtype=torch.float64, device=n.device).lgamma()

    def log_choose(n: Tensor, k: Tensor) -> Tensor:
        return log_factorial[n] - log_factorial[k] - log_factorial[n - k]

    means = torch.zeros(len(N), dtype=torch.float64, device=N.device)
    places = n - r + 1
    block = places.cumsum(0) // _PLACES
    for rows in (torch.nonzero(block == number)[:, 0] for number in block.unique()):
        row = rows.repeat_interleave(places[rows])
        before = (places[rows].cumsum(0) - places[rows]).repeat_interleave(places[rows])
        t = j[row] + torch.arange(len(row), device=N.device) - before
        log_share = log_choose(t - 1, j[row] - 1) + log_choose(n[row] - t, (r - j)[row]) - log_choose(n, r)[row]
        means.index_add_(0, row, log_share.exp() / (N[row] + t))
    return means
