"""Several processes that together do what one does: their networks, and the scores of what they evaluate.

Losses and gradients are those of one process through `geomdml.distributed`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import lightning as L
import torch
from lightning.pytorch.plugins import LayerSync
from lightning.pytorch.utilities import rank_zero_warn
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel

from geomdml.distributed import gather, rank_and_size


class SharedBatchNorm(LayerSync):
    """Batch statistics of all processes, on GPUs. Lightning's own would drop the activations within timm's layers."""

    def apply(self, model: nn.Module) -> nn.Module:
        return convert_sync_batchnorm(model)

    def revert(self, model: nn.Module) -> nn.Module:
        return model  # one process reads a state dict of either


def warn_of_batch_norm(model: nn.Module) -> None:
    """Say so where the processes' batch statistics make their numbers other than those of one process."""
    own = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    if rank_and_size()[1] > 1 and any(not isinstance(m, nn.SyncBatchNorm) for m in own):
        rank_zero_warn(
            "The backbone has batch normalisation and each process normalises its own part of the batch: the numbers "
            "are not those of one process. On GPUs, --trainer.sync_batchnorm true takes the statistics of all."
        )


@contextmanager
def as_torchrun_says() -> Iterator[tuple[int, int]]:
    """The number of this process and of how many, which are put together where torchrun has started several."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        torch.distributed.init_process_group("gloo")
    try:
        yield rank_and_size()
    finally:
        if rank_and_size()[1] > 1:
            torch.distributed.destroy_process_group()


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
