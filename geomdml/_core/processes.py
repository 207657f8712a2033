"""What processes that work together tell each other, with gradients.

Every process computes the loss of the whole batch, so R of them compute it R times, and a backward pass gives the
gradient of the sum of their R equal losses. The mean over the processes, which DDP and FSDP take, is then the gradient
of one. Each function here has the exact derivative of that sum: nothing is rescaled, whatever R is.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable

Group = distributed.ProcessGroup


def rank_and_size(group: Group | None = None) -> tuple[int, int]:
    """The number of this process and how many there are; (0, 1) where none were started together.

    >>> rank_and_size()
    (0, 1)
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(group), distributed.get_world_size(group)


def gather(tensor: Tensor, group: Group | None = None) -> Tensor:
    """The tensors (B_r, ...) of all processes, one after another in the order of their ranks; gradients flow.

    The processes may have different numbers of rows, also none; all else of the shape is equal. Of one process, and
    where there is no process group, the tensor itself.

    Args:
        group: the processes; None is all of them.

    >>> gather(torch.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    return _Gather.apply(tensor, group) if rank_and_size(group)[1] > 1 else tensor


def total(tensor: Tensor, group: Group | None = None) -> Tensor:
    """The sum of the tensors of all processes; gradients flow.

    >>> total(torch.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    return _Total.apply(tensor, group) if rank_and_size(group)[1] > 1 else tensor


def exchange(tensor: Tensor, sent: list[int], received: list[int], group: Group | None = None) -> Tensor:
    """Rows that go to other processes, for those that come from them; gradients flow.

    Args:
        tensor: the rows for process 0, then those for process 1, and so on.
        sent, received: how many rows for each process, and from each.
    """
    return _Exchange.apply(tensor, sent, received, group) if rank_and_size(group)[1] > 1 else tensor


@torch.no_grad()
def broadcast(tensors: Iterable[Tensor], group: Group | None = None) -> None:
    """Give every process the values that the first has, in place.

    >>> broadcast([torch.zeros(2)])
    """
    if rank_and_size(group)[1] > 1:
        for tensor in tensors:
            distributed.broadcast(tensor, group=group, group_src=0)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, group: Group | None) -> Tensor:
        rank, size = rank_and_size(group)
        counts = [torch.zeros(1, dtype=torch.int64, device=tensor.device) for _ in range(size)]
        distributed.all_gather(counts, counts[0].new_tensor([len(tensor)]), group=group)
        rows = torch.cat(counts).tolist()
        parts = [tensor.new_empty(max(rows), *tensor.shape[1:]) for _ in rows]
        padded = torch.cat([tensor, tensor.new_zeros(max(rows) - len(tensor), *tensor.shape[1:])])
        distributed.all_gather(parts, padded, group=group)
        ctx.group, ctx.own = group, slice(sum(rows[:rank]), sum(rows[: rank + 1]))
        return torch.cat([part[:count] for part, count in zip(parts, rows, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _sum(gradient, ctx.group)[ctx.own], None


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, group: Group | None) -> Tensor:
        ctx.group = group
        return _sum(tensor, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _sum(gradient, ctx.group), None


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, sent: list[int], received: list[int], group: Group | None) -> Tensor:
        ctx.arguments = sent, received, group
        return _all_to_all(tensor, sent, received, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        sent, received, group = ctx.arguments
        return _all_to_all(gradient, received, sent, group), None, None, None


def _sum(tensor: Tensor, group: Group | None) -> Tensor:
    result = tensor.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(result, group=group)
    return result


def _all_to_all(tensor: Tensor, sent: list[int], received: list[int], group: Group | None) -> Tensor:
    result = tensor.new_empty(sum(received), *tensor.shape[1:])
    distributed.all_to_all_single(result, tensor.contiguous(), received, sent, group=group)
    return result
