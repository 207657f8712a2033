"""Which items of a gallery are of which class."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Classes", "numbered"]


class Classes(NamedTuple):
    """The items of the gallery, class after class."""

    population: Tensor  # (class,) number of items
    first: Tensor  # (class,) where the class begins in `members`
    members: Tensor  # (P,)

    @classmethod
    def of(cls, label: Tensor, count: int) -> "Classes":
        population = label.bincount(minlength=count)
        return cls(population, population.cumsum(0) - population, label.argsort(stable=True))

    def items(self, label: Tensor) -> tuple[Tensor, Tensor]:
        """The items of each class asked for, (q, most), and which of them there are."""
        population, first = self.population[label, None], self.first[label, None]
        slot = torch.arange(int(population.max()), device=label.device)
        return self.members[(first + slot).clamp(max=len(self.members) - 1)], slot < population


def numbered(labels: Tensor, gallery_labels: Tensor, device: torch.device) -> tuple[Tensor, Tensor, int]:
    """Both labels as numbers below the count that comes third, compared as integers whatever their size."""
    both = torch.cat([labels.to(device, torch.int64), gallery_labels.to(device, torch.int64)])
    _, number = torch.unique(both, return_inverse=True)
    return number[: len(labels)], number[len(labels) :], len(both)
