"""Proxies of which each process has the classes of its share."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn

from geomdml._core.processes import Group, gather, rank_and_size
from geomdml.losses._class_sampling import Others
from geomdml.losses.proxies import _BLOCK, Proxies

__all__ = ["ShardedProxies", "make_proxies"]


class ShardedProxies(Proxies):
    """`Proxies` whose classes are divided among processes, one stretch of them after another.

    A loss makes them where it is given `shards`. They start at the same random numbers, and a state dict holds them
    whole, however many processes there are: it can be read by any number. All processes ask for it together. DDP must
    leave the parameter alone: no other process has it (`geomdml.distributed.own_parameters`).

    Args:
        num_classes, in_features, centers_per_class, radius, sample, others: as for `Proxies`.
        group: the processes; None is all of them, and one process without `torch.distributed`.

    Raises:
        ValueError: fewer classes than processes; and as `Proxies`.

    >>> ShardedProxies(3, 8, centers_per_class=2, radius=1.0).state_dict()["vectors"].shape
    torch.Size([3, 2, 8])
    """

    def __init__(
        self,
        num_classes: int,
        in_features: int,
        *,
        centers_per_class: int,
        radius: float = 1.0,
        sample: float = 1.0,
        others: Others = "random",
        group: Group | None = None,
    ) -> None:
        self._group = group
        self.share = _share(num_classes, group)
        self.first = self.share.start
        arguments: dict[str, Any] = {"centers_per_class": centers_per_class, "radius": radius}
        super().__init__(num_classes, in_features, **arguments, sample=sample, others=others)
        self.register_state_dict_post_hook(_whole)
        self.register_load_state_dict_pre_hook(_own)

    @property
    def group(self) -> Group | None:
        """The processes; None where there is one, without `torch.distributed`."""
        return self._group if self._group is not None or rank_and_size()[1] == 1 else distributed.group.WORLD

    @torch.no_grad()
    def divide(self) -> None:
        """Let go of the classes of others, where the processes were put together after these proxies were made."""
        share = _share(self.num_classes, self._group)
        if len(self.vectors) == self.num_classes and share != self.share:
            self.share, self.first = share, share.start
            self.vectors.data = self.own(self.vectors).clone()
            if hasattr(self.sampler, "means"):
                self.sampler.means = self.own(self.sampler.means).clone()

    def whole(self, rows: Float[Tensor, "S ..."]) -> Float[Tensor, "C ..."]:
        """What belongs to the classes of all processes, such as a state of an optimiser, from what each has."""
        return gather(rows.detach(), self.group)

    def own(self, rows: Float[Tensor, "C ..."]) -> Float[Tensor, "S ..."]:
        """The part of this process of what belongs to all classes."""
        return rows[self.share]

    def _draw(self, num_classes: int, centers: int, dimension: int) -> Tensor:
        parts = []
        for begin in range(0, num_classes, _BLOCK):
            block = torch.randn(min(_BLOCK, num_classes - begin), centers, dimension)
            parts.append(block[max(self.share.start - begin, 0) : max(self.share.stop - begin, 0)].clone())
        return torch.cat(parts)


def _share(num_classes: int, group: Group | None) -> slice:
    """The classes of this process."""
    rank, size = rank_and_size(group)
    if num_classes < size:
        raise ValueError(f"num_classes = {num_classes} for {size} processes; expected a class for each, at least")
    return slice(num_classes * rank // size, num_classes * (rank + 1) // size)


def _whole(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    assert isinstance(module, ShardedProxies)
    for name in _of_classes(state, prefix):
        state[name] = module.whole(state[name])


def _own(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    assert isinstance(module, ShardedProxies)
    for name in _of_classes(state, prefix):
        if len(state[name]) == module.num_classes:
            state[name] = module.own(state[name])


def _of_classes(state: dict[str, Any], prefix: str) -> list[str]:
    return [name for name in (f"{prefix}vectors", f"{prefix}sampler.means") if name in state]


def make_proxies(*, shards: Group | bool, **options: Any) -> Proxies:
    """`Proxies` that each process has whole, or those of its share: among all with True, else among a group."""
    if shards is False:
        return Proxies(**options)
    return ShardedProxies(**options, group=None if shards is True else shards)
