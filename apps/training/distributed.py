"""Several processes that together do what one does: the same loss, the same gradients, the same scores.

Every process computes the loss of the whole batch, from the embeddings of all. The backward pass of the gathering adds
up what the losses of the R processes, all equal, say of an embedding: R times its gradient. DDP and FSDP take the mean
of the processes' gradients. For what comes before the gathering that is the mean of R times each one's part: the whole.
For what comes after it (head, proxies) it is the mean of R equal gradients. Nothing is rescaled.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins import LayerSync
from lightning.pytorch.utilities import rank_zero_warn
from timm.layers import convert_sync_batchnorm
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import FullyShardedDataParallel


def together() -> bool:
    """Whether this process is one of several."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def gather(tensor: Tensor) -> Tensor:
    """The tensors (B, ...) of all processes, one after another (R·B, ...); gradients flow. Of one process: its own."""
    return _Gather.apply(tensor) if together() else tensor


class _Gather(torch.autograd.Function):
    """As torch.distributed.nn.functional.all_gather, which torch 2.15 warns of."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total.chunk(distributed.get_world_size())[distributed.get_rank()]


def from_first(tensors: list[Tensor]) -> None:
    """Give every process the values of the first."""
    if together():
        for tensor in tensors:
            distributed.broadcast(tensor, 0)


class SharedBatchNorm(LayerSync):
    """Batch statistics of all processes, on GPUs. Lightning's own would drop the activations within timm's layers."""

    def apply(self, model: nn.Module) -> nn.Module:
        return convert_sync_batchnorm(model)

    def revert(self, model: nn.Module) -> nn.Module:
        return model  # one process reads a state dict of either


def warn_of_batch_norm(model: nn.Module) -> None:
    """Say so where the processes' batch statistics make their numbers other than those of one process."""
    own = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    if together() and any(not isinstance(m, nn.SyncBatchNorm) for m in own):
        rank_zero_warn(
            "The backbone has batch normalisation and each process normalises its own part of the batch: the numbers "
            "are not those of one process. On GPUs, --trainer.sync_batchnorm true takes the statistics of all."
        )


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
