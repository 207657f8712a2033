"""Proxies that a process has for itself: how they go through a training of several, and through its checkpoints."""

from collections.abc import Callable, Iterator
from typing import Any

import lightning as L
import torch
from jaxtyping import Float
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from apps.training.module import AppModule
from geomdml.distributed import ShardedProxies, own_parameters, total
from geomdml.losses.proxies import Proxies


def prepare(model: AppModule, trainer: L.Trainer) -> None:
    """Divide the classes among the processes, which have met by now, and have DDP leave alone what is divided.

    Raises:
        ValueError: FSDP, which would divide them once more.
    """
    for proxies in _sharded(model):
        proxies.divide()
    names = own_parameters(model)
    if not names:
        return
    if isinstance(trainer.strategy, FSDPStrategy):
        raise ValueError(
            "--trainer.strategy fsdp beside --model.class_sample or --model.shard_classes, which divide the proxies "
            "themselves; expected ddp"
        )
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)


def common_parameters(loss: nn.Module) -> Iterator[Tensor]:
    """The parameters that all processes have."""
    divided = {id(proxies.vectors) for proxies in _sharded(loss)}
    return (parameter for parameter in loss.parameters() if id(parameter) not in divided)


def of_all_classes(proxies: Proxies) -> Float[Tensor, "C K D"]:
    """The vectors of all classes; where they are divided among processes, all ask together."""
    return proxies.whole(proxies.vectors) if isinstance(proxies, ShardedProxies) else proxies.vectors.detach()


@torch.no_grad()
def clip_gradients(model: nn.Module, most: float) -> None:
    """Cut the gradients of all processes back to a norm, as torch.nn.utils.clip_grad_norm_ does those of one."""
    own = {id(proxies.vectors): proxies for proxies in _sharded(model)}
    square, values = torch.zeros(()), []
    for parameter in model.parameters():
        if parameter.grad is not None:
            values.append(parameter.grad._values() if parameter.grad.is_sparse else parameter.grad)
            part = values[-1].square().sum()
            square = square.to(part) + (total(part, own[id(parameter)].group) if id(parameter) in own else part)
    for value in values:
        value.mul_((most / (square.sqrt() + 1e-6)).clamp_max(1))


def gather_states(model: AppModule, checkpoint: dict[str, Any]) -> None:
    """Put what the optimiser knows of divided proxies into a checkpoint as a whole; all processes do so together."""
    _change_states(model, checkpoint, lambda proxies: (len(proxies.vectors), proxies.whole))


def divide_states(model: AppModule, checkpoint: dict[str, Any]) -> None:
    """Take this process's part of what a checkpoint says of the optimiser; the inverse of `gather_states`."""
    _change_states(model, checkpoint, lambda proxies: (proxies.num_classes, proxies.own))


def _change_states(
    model: AppModule, checkpoint: dict[str, Any], of: Callable[[ShardedProxies], tuple[int, Callable[[Tensor], Tensor]]]
) -> None:
    divided, saved = list(_sharded(model)), checkpoint.get("optimizer_states")
    if not divided or not saved:
        return
    groups = model.optimiser(1)[0].param_groups
    order = [id(parameter) for group in groups for parameter in group["params"]]
    states = saved[0]["state"]
    for proxies in divided:
        rows, change = of(proxies)
        number = order.index(id(proxies.vectors))
        if number in states:
            states[number] = {
                name: change(value) if isinstance(value, Tensor) and value.shape[:1] == (rows,) else value
                for name, value in states[number].items()
            }


def _sharded(model: nn.Module) -> Iterator[ShardedProxies]:
    return (part for part in model.modules() if isinstance(part, ShardedProxies))
