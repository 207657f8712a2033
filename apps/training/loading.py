"""Loaders of data that know where a run is, and which part of the work is theirs where several processes share it."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import lightning as L
from torch.utils.data import DataLoader, Dataset, Sampler

from apps.training.signals import leave_to_the_parent


class Stepped(Protocol):
    """Batches of an epoch, each a function of the epoch and the step; begun at any step."""

    def set_epoch(self, epoch: int, first: int = 0) -> None: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...


class TrainingLoader(DataLoader):
    """The batches of a run from the step it has come to; each process prepares its part of every batch.

    Lightning makes its iterators before it has read the checkpoint, and tells the sampler its epoch after workers have
    begun to prepare images. So nothing begins here until the first batch is asked for, and the trainer is then asked
    for epoch and step. To Lightning it says that it resumes by having a state, which is empty.

    Several processes divide each batch: a model whose loss compares samples, or standardises them, gathers what it
    makes of its part (`geomdml.distributed.gather`), so that all compute the loss of the whole batch.

    Args:
        dataset: maps the items of a process's part of a batch to what the model is given.
        batches: the items of each batch.
        trainer: of the run; None begins at the first step of the epoch that the sampler has.
        workers: processes that prepare images.

    Raises:
        ValueError: from the iterator, where a batch cannot be divided among the processes.
    """

    def __init__(self, dataset: Dataset, batches: Stepped, *, trainer: L.Trainer | None, workers: int = 0) -> None:
        self.batches, self.trainer = batches, trainer
        rank, ranks = place(trainer)
        own = batches if ranks == 1 else OwnPart(batches, rank, ranks)
        super().__init__(dataset, sampler=own, batch_size=None, **with_workers(workers, trainer))

    def __iter__(self) -> Any:
        if self.trainer is not None:
            done = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
            self.batches.set_epoch(self.trainer.current_epoch, done)
        yield from super().__iter__()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass


class OwnPart:
    """The part of every batch that is of one process among several: they are one after another in the batch."""

    def __init__(self, batches: Stepped, rank: int, ranks: int) -> None:
        self.batches, self.rank, self.ranks = batches, rank, ranks

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches:
            size, rest = divmod(len(batch), self.ranks)
            if rest:
                raise ValueError(
                    f"a batch of {len(batch)} cannot be divided among {self.ranks} processes; make it a multiple, by "
                    "--data.batch_size, or --data.classes_per_batch and --data.per_class"
                )
            yield batch[self.rank * size : (self.rank + 1) * size]


class OwnRows(Sampler[int]):
    """The rows of one process among several: every so-many-th, and as many for each, so that some come twice.

    >>> [list(OwnRows(5, rank, 2)) for rank in range(2)]
    [[0, 2, 4], [1, 3, 0]]
    """

    def __init__(self, count: int, rank: int, ranks: int) -> None:
        self.rows: Sequence[int] = [row % count for row in range(rank, -(-count // ranks) * ranks, ranks)]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[int]:
        return iter(self.rows)


def stretch(count: int, rank: int, ranks: int) -> range:
    """The images of one process among several, one after another: each is of one process.

    Raises:
        ValueError: fewer images than processes.

    >>> [list(stretch(5, rank, 2)) for rank in range(2)]
    [[0, 1], [2, 3, 4]]
    """
    if count < ranks:
        raise ValueError(f"{count} images for {ranks} processes; expected one for each, at least")
    return range(count * rank // ranks, count * (rank + 1) // ranks)


def data_of(trainer: L.Trainer) -> Any:
    """The data module of a run, which Lightning hangs on its trainer without saying so in the trainer's type."""
    return trainer.datamodule  # type: ignore[attr-defined]


def place(trainer: L.Trainer | None) -> tuple[int, int]:
    """The number of this process, and of how many; (0, 1) without a trainer."""
    return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)


def with_workers(workers: int, trainer: L.Trainer | None = None) -> dict[str, Any]:
    """Arguments of a DataLoader for so many processes; 0 prepares in the process that asks.

    Where the trainer computes on a GPU, batches are put into pinned memory: they are copied there while it computes.
    """
    return {
        "pin_memory": trainer is not None and trainer.strategy.root_device.type == "cuda",
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "worker_init_fn": leave_to_the_parent if workers else None,
    }
