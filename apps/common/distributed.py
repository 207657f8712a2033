"""Several processes that together do what one does: the same loss, the same gradients, the same scores.

Every process computes the loss of the whole batch, from the embeddings of all. The backward pass of the gathering adds
up what the losses of the R processes, all equal, say of an embedding: R times its gradient. DDP and FSDP take the mean
of the processes' gradients. For what comes before the gathering that is the mean of R times each one's part: the whole.
For what comes after it (head, proxies) it is the mean of R equal gradients. Nothing is rescaled.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import lightning as L
import torch
import torch.distributed
from torch import Tensor
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.nn.functional import all_gather


def together() -> bool:
    """Whether this process is one of several."""
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def gather(tensor: Tensor) -> Tensor:
    """The tensors (B, ...) of all processes, one after another (R·B, ...); gradients flow. Of one process: its own."""
    return torch.cat(all_gather(tensor)) if together() else tensor


def from_first(tensors: list[Tensor]) -> None:
    """Give every process the values of the first."""
    if together():
        for tensor in tensors:
            torch.distributed.broadcast(tensor, 0)


@contextmanager
def whole_parameters(trainer: L.Trainer) -> Iterator[None]:
    """All parameters whole, where a process has a part of them (FSDP); what is written into them stays."""
    if isinstance(trainer.strategy.model, FullyShardedDataParallel):
        with FullyShardedDataParallel.summon_full_params(trainer.strategy.model):
            yield
    else:
        yield


@torch.no_grad()
def in_order(parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of all processes in the order of "rows", each row once; "rows" is left out.

    Every process gives as many rows, so some are given twice.

    Raises:
        ValueError: a row between 0 and the last is missing.

    >>> in_order({"rows": torch.tensor([2, 0, 1, 0]), "x": torch.tensor([2.5, 0.5, 1.5, 0.5])})
    {'x': tensor([0.5000, 1.5000, 2.5000])}
    """
    if not parts:
        return {}
    whole = {name: gather(tensor) for name, tensor in parts.items()}
    rows = whole.pop("rows")
    where = torch.full((int(rows.max()) + 1,), -1, dtype=torch.long, device=rows.device)
    where[rows] = torch.arange(len(rows), device=rows.device)
    if (where < 0).any():
        raise ValueError(f"{int((where < 0).sum())} rows of {len(where)} have no embedding")
    return {name: tensor[where] for name, tensor in whole.items()}
