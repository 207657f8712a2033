"""Which items of a gallery are relevant to which query: those of its class, or those that a matrix says."""

from typing import NamedTuple

import torch
from torch import Tensor

from geomdml._core import checks

__all__ = ["Relevant"]


class Relevant(NamedTuple):
    """The relevant items of a query are a stretch of `members`; queries may share one."""

    first: Tensor  # (Q,) where the stretch of a query begins
    population: Tensor  # (Q,) how long it is
    members: Tensor
    own: int  # how often a query stands in its own stretch: 1 where each searches all the others of its class

    @classmethod
    def of_classes(cls, labels: Tensor, gallery_labels: Tensor, *, own: bool, device: torch.device) -> "Relevant":
        """Labels are compared as integers, whatever their size."""
        both = torch.cat([labels.to(device, torch.int64), gallery_labels.to(device, torch.int64)])
        _, number = torch.unique(both, return_inverse=True)
        label, item_label = number[: len(labels)], number[len(labels) :]
        population = item_label.bincount(minlength=len(both))
        first = population.cumsum(0) - population
        return cls(first[label], population[label], item_label.argsort(stable=True), int(own))

    @classmethod
    def of_matrix(cls, matrix: Tensor, shape: tuple[int, int], *, own: bool, device: torch.device) -> "Relevant":
        """What is not 0 in a dense or sparse (Q, P) matrix is relevant; a query itself never is."""
        if matrix.shape != shape:
            raise ValueError(f"labels has shape {tuple(matrix.shape)}; expected classes (Q,), or relevance {shape}")
        entries = matrix.to(device).to_sparse_coo().coalesce()
        if checks.values_are_checked(entries.values()) and not bool(entries.values().isfinite().all()):
            raise ValueError("labels has entries that are NaN or infinite; expected relevance, 0 or not")
        pairs = entries.indices()[:, entries.values() != 0]
        return cls.of_pairs(pairs, shape[0], own=own)

    @classmethod
    def of_pairs(cls, pairs: Tensor, queries: int, *, own: bool) -> "Relevant":
        """(2, R) queries and items, each pair once, in the order of the queries; a query itself never is relevant."""
        row, item = pairs[:, pairs[0] != pairs[1]] if own else pairs
        population = row.bincount(minlength=queries)
        return cls(population.cumsum(0) - population, population, item, 0)

    @property
    def number(self) -> Tensor:
        """(Q,) how many items are relevant, beside the query itself."""
        return self.population - self.own

    def items(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The stretches of these queries, (q, most), and which of the items there are."""
        population, first = self.population[rows, None], self.first[rows, None]
        slot = torch.arange(int(population.max()), device=rows.device)
        return self.members[(first + slot).clamp(max=len(self.members) - 1)], slot < population
