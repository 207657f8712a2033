"""Retrieval scores, exact under ties: Recall@k, R-precision, MAP@R and mAP.

Every score follows from where a query's relevant items stand (`geomdml.metrics.ranking.ranks`).
"""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Integer, Shaped
from torch import Tensor

from geomdml._core import checks
from geomdml._core.signatures import takes_arguments_of
from geomdml.metrics.query_scores import QueryScores, RetrievalScores
from geomdml.metrics.ranking import MEMORY, rank
from geomdml.metrics.ranking.ranks import Items, Ranks, Ties
from geomdml.spaces import Space

__all__ = ["Score", "retrieval", "retrieval_by_query"]

Score = Literal["recall", "r_precision", "map_at_r", "mean_ap"]


def retrieval_by_query(
    query: Float[Tensor, "Q D"],
    labels: Integer[Tensor, " Q"] | Shaped[Tensor, "Q P"],
    gallery: Float[Tensor, "P D"] | None = None,
    gallery_labels: Integer[Tensor, " P"] | None = None,
    *,
    space: Space | None = None,
    ks: Collection[int] = (1, 2, 4, 8),
    scores: Collection[Score] = ("recall", "r_precision", "map_at_r"),
    ties: Ties = "expected",
    memory_limit: int | float = MEMORY,
) -> QueryScores:
    """The scores of `retrieval`, of each query: for means by class and for confidence intervals.

    The arguments, and what is refused, are those of `retrieval`.

    Returns:
        The scores of the queries with R > 0, with `mean()`, `by_class()` and `interval()`.

    Source: as `retrieval`.

    >>> embeddings, labels = torch.tensor([[0.0], [1.0], [3.0], [10.0], [11.0]]), torch.tensor([0, 0, 1, 1, 1])
    >>> found = retrieval_by_query(embeddings, labels, ks=(1,))
    >>> found.recall[1]
    tensor([1., 1., 0., 1., 1.], dtype=torch.float64)
    >>> found.by_class()[1].recall
    {1: 0.6666666666666666}
    """
    if ties not in get_args(Ties):
        raise ValueError(f"ties = {ties!r}; expected one of {', '.join(map(repr, get_args(Ties)))}")
    items = Items.checked(query, labels, gallery, gallery_labels)
    ks = tuple(checks.integer(1, ks=k) for k in ks)
    wanted = _score_functions(scores, ks, items.length)

    def depth(R: int) -> int:
        ranks = {"recall": max(ks, default=0), "r_precision": R, "map_at_r": R, "mean_ap": items.length}
        return min(items.length, max(ranks[score] for score in scores))

    nearest = set(scores) == {"recall"}
    rows, values = [], []
    with torch.no_grad():
        for block, ranks in rank(items, space, ties, depth, nearest=nearest, memory_limit=memory_limit):
            rows.append(block)
            values.append(torch.stack([score(ranks) for score in wanted.values()], -1))
    index = torch.cat(rows)
    order = index.argsort()
    found = dict(zip(wanted, torch.cat(values)[order].T.contiguous(), strict=True))
    return QueryScores(
        index=index[order],
        labels=labels[index[order].to(labels.device)] if labels.ndim == 1 else None,
        recall={k: found[k] for k in ks} if "recall" in scores else None,
        r_precision=found.get("r_precision"),
        map_at_r=found.get("map_at_r"),
        mean_ap=found.get("mean_ap"),
    )


@takes_arguments_of(retrieval_by_query)
def retrieval(*items: Any, **options: Any) -> RetrievalScores:
    """How well the nearest neighbours of the queries share their class, or are relevant by a matrix.

    With R relevant items (those of the query's class, or of its row) in the gallery, rel(i) the relevance at rank i and
    P(i) the share of relevant items among the first i:

    - `recall`: for each k, the share of queries with a relevant item among the first k; 1 from k = P on.
    - `r_precision`: P(R).
    - `map_at_r`: Σ P(i)·rel(i) / R over i ≤ R.
    - `mean_ap`: the same over the whole list. It alone needs the whole order, and so is not a default.

    Args:
        query, labels: (Q, D) embeddings and their classes, integers of any size; or, in place of classes, a (Q, P)
            matrix of relevance, dense or sparse: an item is relevant where it is not 0.
        gallery, gallery_labels: (P, D) embeddings to search. Without them each query searches all the others: it
            is left out itself, by its index, and embeddings equal to it are not. With a matrix there are no
            gallery_labels.
        space: whose `pairwise_dist` ranks; None is Euclidean.
        ks: the k of Recall@k.
        scores: which scores to compute.
        ties: how items at equal distances (in float64: to 1e-13) rank. "expected" is the mean over all their orders;
            "optimistic" has the relevant ones first, "pessimistic" last; "index" has them as they are stored, the
            one rule under which the order of the gallery matters. Equal embeddings always tie.
        memory_limit: bytes to work in, beside the embeddings and a copy of the gallery. Less of it is slower only where
            classes have more than 32 items.

    Returns:
        Means over the queries with R > 0, and the number of these: a query alone in its class is left out.

    Raises:
        ValueError: shapes that do not match, NaN or infinite embeddings or distances, no query with a relevant
            item, an unknown score or tie rule, a k < 1, memory that is too little for one query.
        TypeError: embeddings that are not floating point, labels or ks that are not integers.

    In `Euclidean` and `Hyperbolic` spaces it costs little more than one matrix product in float32, with the same exact
    scores (`geomdml.metrics.ranking.counting`); in others, and for large classes, distances are sorted.

    Source: MAP@R from Musgrave et al., "A metric learning reality check" (2020), section 3.2; expectations under
    ties as in McSherry and Najork, "Computing information retrieval performance measures efficiently in the
    presence of tied scores" (2008).

    >>> embeddings = torch.tensor([[0.0], [1.0], [3.0], [10.0], [11.0]])
    >>> result = retrieval(embeddings, torch.tensor([0, 0, 1, 1, 1]), ks=(1, 3), scores=("recall", "r_precision"))
    >>> result.recall
    {1: 0.8, 3: 1.0}
    >>> result.r_precision, result.map_at_r, result.queries
    (0.8, None, 5)
    >>> relevance = torch.zeros(5, 5)
    >>> relevance[0, 2] = 1  # the second nearest of the first
    >>> retrieval(embeddings, relevance, scores=("mean_ap",)).mean_ap
    0.5
    """
    return retrieval_by_query(*items, **options).mean()


def _score_functions(
    scores: Collection[Score], ks: Collection[int], length: int
) -> dict[str | int, Callable[[Ranks], Tensor]]:
    """The scores asked for, by name (Recall@k by its k), each a function to one number a query."""
    if not scores or not set(scores) <= set(get_args(Score)):
        names = ", ".join(map(repr, get_args(Score)))
        raise ValueError(f"scores = {scores!r}; expected a tuple of one or more of {names}")
    functions: dict[str | int, Callable[[Ranks], Tensor]] = {}
    if "recall" in scores:
        if not ks:
            raise ValueError("ks is empty; expected one or more integers ≥ 1")
        functions |= {k: partial(_recall, k=k) for k in ks}
    if "r_precision" in scores:
        functions["r_precision"] = lambda ranks: ranks.hits(ranks.relevant) / ranks.relevant[:, 0]
    if "map_at_r" in scores:
        functions["map_at_r"] = lambda ranks: ranks.average_precision(ranks.relevant)
    if "mean_ap" in scores:
        functions["mean_ap"] = lambda ranks: ranks.average_precision(length)
    return functions


def _recall(ranks: Ranks, k: int) -> Tensor:
    """1 − C(n − r, m)/C(n, m), where m items of the nearest relevant item's block come within the first k."""
    N, n, _, r, _ = (count[:, 0] for count in ranks)
    m = (k - N).clamp(min=0).minimum(n)
    # lgamma is infinite at the integers ≤ 0, which makes a miss impossible where m > n − r
    log_miss = (n - r + 1).lgamma() - (n - r - m + 1).lgamma() - (n + 1).lgamma() + (n - m + 1).lgamma()
    return 1 - log_miss.exp()
