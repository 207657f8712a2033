"""Retrieval scores of single queries, and what is made of them: means, means by class, confidence intervals."""

from dataclasses import dataclass
from math import fsum
from typing import NamedTuple

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from geomdml._core import checks

__all__ = ["QueryScores", "RetrievalScores"]

_DRAWN = 2**22  # numbers at a time


class RetrievalScores(NamedTuple):
    """Means over the `queries` that have a relevant item; None for a score that was not asked for."""

    recall: dict[int, float] | None
    r_precision: float | None
    map_at_r: float | None
    mean_ap: float | None
    queries: int


@dataclass(frozen=True)
class QueryScores:
    """The scores of the q queries that have a relevant item, in float64; None for a score that was not asked for.

    `labels` is None where relevance came as a matrix.
    """

    index: Integer[Tensor, " q"]
    labels: Integer[Tensor, " q"] | None
    recall: dict[int, Float[Tensor, " q"]] | None
    r_precision: Float[Tensor, " q"] | None
    map_at_r: Float[Tensor, " q"] | None
    mean_ap: Float[Tensor, " q"] | None

    def mean(self) -> RetrievalScores:
        """Means over the queries; their sums are rounded once, so that the order of the queries is nothing to them."""
        return self._with([fsum(scores.tolist()) / len(scores) for scores in self._all()])

    def by_class(self) -> dict[int, RetrievalScores]:
        """Means over the queries of each class, by label.

        Raises:
            ValueError: there are no classes, for relevance came as a matrix.
        """
        if self.labels is None:
            raise ValueError("by_class needs classes, and relevance came as a matrix; expected labels (Q,)")
        classes, number = self.labels.unique(return_inverse=True)
        rows = number.argsort(stable=True).split(number.bincount().tolist())
        return {label: self._of(some).mean() for label, some in zip(classes.tolist(), rows, strict=True)}

    def interval(
        self, confidence: float = 0.95, *, resamples: int = 1000, seed: int = 0
    ) -> tuple[RetrievalScores, RetrievalScores]:
        """Where the means lie had other queries been drawn: (low, high) of each, by the percentile bootstrap.

        As many queries as there are, are drawn with replacement, `resamples` times, by the seed; between low and high
        lies the share `confidence` of the means. It tells of the draw of queries, for this gallery and this network.

        Raises:
            ValueError: a confidence that is not between 0 and 1, resamples < 1.

        Source: Efron and Tibshirani, "An introduction to the bootstrap" (1993), section 13.3.

        >>> half = torch.arange(400).double() % 2
        >>> scores = QueryScores(torch.arange(400), torch.zeros(400).long(), None, half, None, None)
        >>> low, high = scores.interval()
        >>> 0.44 < low.r_precision < 0.46 and 0.54 < high.r_precision < 0.56  # 0.5 ± 1.96·0.5/√400
        True
        """
        if not 0 < confidence < 1:
            raise ValueError(f"confidence = {confidence}; expected a number between 0 and 1")
        resamples = checks.integer(1, resamples=resamples)
        table = torch.stack(self._all()).cpu()
        count, rng = len(self.index), torch.Generator().manual_seed(checks.integer(seed=seed))
        means: list[Tensor] = []
        for block in torch.arange(resamples).split(max(1, _DRAWN // (count * len(table)))):
            drawn = torch.randint(count, (len(block), count), generator=rng)
            means.append(table[:, drawn].mean(-1))
        ends = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.float64)
        low, high = torch.cat(means, 1).quantile(ends, dim=1).tolist()
        return self._with(low), self._with(high)

    def _all(self) -> list[Tensor]:
        """The scores that there are, in the order of the fields."""
        single = [scores for scores in (self.r_precision, self.map_at_r, self.mean_ap) if scores is not None]
        return [*(self.recall or {}).values(), *single]

    def _with(self, numbers: list[float]) -> RetrievalScores:
        """One number for each of them."""
        left = iter(numbers)
        return RetrievalScores(
            recall=None if self.recall is None else {k: next(left) for k in self.recall},
            r_precision=None if self.r_precision is None else next(left),
            map_at_r=None if self.map_at_r is None else next(left),
            mean_ap=None if self.mean_ap is None else next(left),
            queries=len(self.index),
        )

    def _of(self, rows: Tensor) -> "QueryScores":
        def some(scores: Tensor | None) -> Tensor | None:
            return None if scores is None else scores[rows]

        recall = None if self.recall is None else {k: scores[rows] for k, scores in self.recall.items()}
        single = map(some, (self.r_precision, self.map_at_r, self.mean_ap))
        labels = None if self.labels is None else self.labels[rows]
        return QueryScores(self.index[rows], labels, recall, *single)
