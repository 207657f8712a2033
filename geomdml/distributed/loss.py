"""Any loss of embeddings and labels, computed on the embeddings of all processes."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from geomdml._core.processes import Group, gather, rank_and_size

__all__ = ["DistributedLoss"]


class DistributedLoss(nn.Module):
    """A loss of (embeddings, labels) that every process computes of the embeddings of all.

    The processes may have different numbers of embeddings. Averaged over the processes, as DDP averages them, the
    gradients are those of one process that has the whole batch, for the network before the loss and for parameters of
    the loss. The wrapper has no state of its own. A loss that draws at random must draw the same in every process: seed
    torch before it.

    Args:
        loss: of this library, of pytorch-metric-learning, or any callable of (embeddings, labels).
        miner: called with the embeddings and labels of all; what it returns becomes the loss's `indices_tuple`.
        group: the processes; None is all of them.

    Raises:
        ValueError: from the call, where several processes give an `indices_tuple`: it would count rows of one of them.

    >>> import torch
    >>> from geomdml.losses import PairwiseCrossEntropyLoss
    >>> loss = DistributedLoss(PairwiseCrossEntropyLoss())
    >>> loss(torch.randn(4, 8), torch.tensor([0, 0, 1, 1])).shape  # one process: the loss itself
    torch.Size([])
    """

    def __init__(
        self,
        loss: Callable[..., Tensor],
        *,
        miner: Callable[..., tuple[Tensor, ...]] | None = None,
        group: Group | None = None,
    ) -> None:
        super().__init__()
        self.loss, self.miner, self.group = loss, miner, group

    def forward(
        self,
        embeddings: Float[Tensor, "B D"],
        labels: Int[Tensor, " B"],
        indices_tuple: tuple[Tensor, ...] | None = None,
        ref_emb: Float[Tensor, "P D"] | None = None,
        ref_labels: Int[Tensor, " P"] | None = None,
        **options: Any,
    ) -> Tensor:
        """The loss of what all processes have; `options` go to the loss as they are."""
        if indices_tuple is not None and (self.miner is not None or rank_and_size(self.group)[1] > 1):
            raise ValueError(
                "indices_tuple counts the embeddings of one process; expected None, and the miner in "
                "DistributedLoss(loss, miner=...)"
            )
        embeddings, labels = gather(embeddings, self.group), gather(labels, self.group)
        if ref_emb is not None and ref_labels is not None:
            ref_emb, ref_labels = gather(ref_emb, self.group), gather(ref_labels, self.group)
        if self.miner is not None:
            indices_tuple = self.miner(embeddings, labels, ref_emb, ref_labels)
        pairs = {"indices_tuple": indices_tuple, "ref_emb": ref_emb, "ref_labels": ref_labels}
        return self.loss(embeddings, labels, **{k: v for k, v in pairs.items() if v is not None}, **options)
