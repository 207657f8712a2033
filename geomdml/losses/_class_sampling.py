"""Which classes a batch is compared with, where it is not compared with all."""

import math
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from geomdml._core.processes import Group, rank_and_size, total

Others = Literal["random", "nearest"]
REFRESH = 100  # batches between two makings of the index


class ClassSampler(nn.Module):
    """Draws a share of the classes: those of the batch, and others until the share is full.

    Nearest classes are found by the straight distances of the means of their proxies: an index of those is kept, and
    made again every `REFRESH` batches; a checkpoint takes it along. Random numbers come from torch's global generator:
    seeded equally, all processes draw the same.

    Args:
        share: of the classes, in (0, 1].
        others: "random" or "nearest".
        classes, dimension: how many there are here, and the dimension of their proxies.

    Source: An et al., "Partial FC" (2022), for random classes; for nearest ones Song et al., "Large-scale training
    system for 100-million classification" (KNN softmax, 2020).
    """

    means: Tensor
    batches: Tensor

    def __init__(self, share: float, others: Others, classes: int, dimension: int) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"sample = {share}; expected a share of the classes, above 0 and up to 1")
        if others not in get_args(Others):
            raise ValueError(f"others = {others!r}; expected one of {', '.join(map(repr, get_args(Others)))}")
        super().__init__()
        self.share, self.others = float(share), others
        if others == "nearest" and share < 1:
            self.register_buffer("means", torch.zeros(classes, dimension))
            self.register_buffer("batches", torch.tensor(0))
        self.register_load_state_dict_pre_hook(_index_if_any)

    def choose(
        self, vectors: Float[Tensor, "C K D"], labels: Int[Tensor, " B"], first: int, group: Group | None
    ) -> Int[Tensor, " S"]:
        """Ascending rows of `vectors`, whose classes begin at `first`, for a batch of these classes.

        Args:
            group: the processes among which the classes are divided; None where each has all, and chooses the same.
        """
        rows = labels.unique() - first
        own = rows[(rows >= 0) & (rows < len(vectors))]
        count = max(len(own), math.ceil(self.share * len(vectors)))
        if self.others == "random":
            return self._random(own, count, len(vectors), 0 if group is None else rank_and_size(group)[0])
        return self._nearest(vectors, rows, own, count, group)

    def _random(self, own: Tensor, count: int, classes: int, rank: int) -> Tensor:
        seed = int(torch.randint(2**62, ()))
        drawn = np.random.default_rng((seed, rank)).choice(classes, count, replace=False)
        others = torch.from_numpy(drawn).to(own)
        others = others[~torch.isin(others, own)][: count - len(own)]
        return torch.cat([own, others]).sort().values

    def _nearest(self, vectors: Tensor, rows: Tensor, own: Tensor, count: int, group: Group | None) -> Tensor:
        if int(self.batches) % REFRESH == 0:
            torch.mean(vectors, 1, out=self.means)
        self.batches += 1
        # the means of the batch's classes, which other processes may have
        query = self.means.new_zeros(len(rows), self.means.shape[1])
        here = (rows >= 0) & (rows < len(vectors))
        query[here] = self.means[own]
        query = query if group is None else total(query, group)
        squares = torch.linalg.vecdot(self.means, self.means)
        nearness = torch.addmm(squares, query, self.means.T, alpha=-2).add_(query.square().sum(1, keepdim=True))
        nearest = nearness.amin(0)
        nearest[own] = -torch.inf
        return nearest.topk(count, largest=False, sorted=False).indices.sort().values


def _index_if_any(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Take the index of a state dict where there is one to take it: the choice of classes may have changed."""
    own = dict(module.named_buffers())
    for name in ("means", "batches"):
        if name in own:
            state.setdefault(prefix + name, own[name])
        else:
            state.pop(prefix + name, None)
