"""Batches in which every random choice is a function of (seed, epoch, step, slot).

Nothing is drawn from a running generator, so a run that is stopped anywhere and resumed sees the same images in the
same order under the same augmentation, whatever the number of workers.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """One image of a batch: its place in the data, and the seed of its augmentation."""

    image: int
    seed: int


def seed_of(*key: int) -> int:
    """A 63-bit seed from a tuple of non-negative integers.

    >>> seed_of(0, 1) == seed_of(0, 1), seed_of(0, 1) == seed_of(1, 0)
    (True, False)
    """
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


class ClassBalanced(Sampler[list[Draw]]):
    """`steps` batches an epoch of `per_class` images from each of `classes` different classes.

    Batch after batch goes through a shuffled list of all classes, then through a new one. A class with fewer than
    `per_class` images repeats some of them, under another augmentation.

    Raises:
        ValueError: fewer than two classes a batch or in the data, more a batch than the data has, sizes below 1.

    >>> batch = next(iter(ClassBalanced(np.array([0, 0, 1, 1, 2]), classes=2, per_class=2, steps=1, seed=0)))
    >>> len(batch), len({draw.seed for draw in batch})
    (4, 4)
    """

    def __init__(self, labels: np.ndarray, *, classes: int, per_class: int, steps: int, seed: int) -> None:
        self.members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        if not 2 <= classes <= len(self.members):
            raise ValueError(
                f"classes_per_batch = {classes}: a batch needs at least 2 classes and the training split has "
                f"{len(self.members)}; set --data.classes_per_batch between"
            )
        if per_class < 1 or steps < 1:
            raise ValueError(f"per_class = {per_class}, steps = {steps}; expected at least 1 of each")
        self.classes, self.per_class, self.steps, self.seed = classes, per_class, steps, seed
        self.epoch = self.first = 0

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Choose the epoch, and the step in it that comes first."""
        self.epoch, self.first = epoch, first

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Draw]]:
        return (self.batch(self.epoch, step) for step in range(self.first, self.steps))

    def batch(self, epoch: int, step: int) -> list[Draw]:
        """The images of one step."""
        per_pass = len(self.members) // self.classes
        passes, place = divmod(epoch * self.steps + step, per_pass)
        order = np.random.default_rng(seed_of(self.seed, passes)).permutation(len(self.members))
        chosen = order[place * self.classes : (place + 1) * self.classes]
        rng = np.random.default_rng(seed_of(self.seed, epoch, step))
        indices = np.concatenate([self._images(self.members[label], rng) for label in chosen])
        return [Draw(int(index), seed_of(self.seed, epoch, step, slot)) for slot, index in enumerate(indices)]

    def _images(self, members: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        rounds = -(-self.per_class // len(members))
        return np.concatenate([rng.permutation(members) for _ in range(rounds)])[: self.per_class]


class Shuffled(Sampler[Tensor]):
    """Batches of `size` rows of the `count` there are, as index tensors; each row at most once an epoch.

    The order is a function of (seed, epoch). The rows that do not fill a last batch sit out the epoch.

    Raises:
        ValueError: a size below 1, or more than the data has.

    >>> batches = list(Shuffled(7, size=3, seed=0))
    >>> len(batches), len(set(torch.cat(batches).tolist()))
    (2, 6)
    """

    def __init__(self, count: int, *, size: int, seed: int) -> None:
        if not 1 <= size <= count:
            raise ValueError(f"batches of {size} images from {count}; expected 1 to {count}")
        self.count, self.size, self.seed = count, size, seed
        self.epoch = self.first = 0
        self.order, self.shuffled_for = torch.empty(0, dtype=torch.int64), -1

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Choose the epoch, and the step in it that comes first."""
        self.epoch, self.first = epoch, first

    def __len__(self) -> int:
        return self.count // self.size

    def __iter__(self) -> Iterator[Int64[Tensor, " size"]]:
        return (self.batch(self.epoch, step) for step in range(self.first, len(self)))

    def batch(self, epoch: int, step: int) -> Int64[Tensor, " size"]:
        """The rows of one step."""
        if epoch != self.shuffled_for:
            order = np.random.default_rng(seed_of(self.seed, epoch)).permutation(self.count)
            self.order, self.shuffled_for = torch.from_numpy(order), epoch
        return self.order[step * self.size : (step + 1) * self.size]
