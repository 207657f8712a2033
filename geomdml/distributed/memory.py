"""Embeddings of earlier batches as further points to compare with."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from geomdml._core import checks

__all__ = ["CrossBatchMemory"]


class CrossBatchMemory(nn.Module):
    """L(batch) + weight · L(batch against the embeddings of earlier batches), for a loss of pairs.

    Within `DistributedLoss` it is given the embeddings of all processes, so that their memories are the same. Buffers
    hold all of it, and a checkpoint restores it. In evaluation mode nothing is written. A batch none of whose classes
    is in the memory has the first term alone.

    Args:
        loss: takes (embeddings, labels, ref_emb=, ref_labels=), as pytorch-metric-learning's losses and
            `geomdml.losses.PairwiseCrossEntropyLoss` do.
        size: how many embeddings are remembered, the latest.
        in_features: their dimension D.
        weight: of the second term.

    Raises:
        ValueError, TypeError: sizes below 1, a negative weight.

    Source: Wang et al., "Cross-batch memory for embedding learning" (2020), section 3.2, with the batch itself left out
    of the memory that it is compared with.

    >>> from geomdml.losses import PairwiseCrossEntropyLoss
    >>> loss = CrossBatchMemory(PairwiseCrossEntropyLoss(), size=6, in_features=8)
    >>> for _ in range(3):
    ...     value = loss(torch.randn(4, 8), torch.tensor([0, 0, 1, 1]))
    >>> loss.remembered[1]
    tensor([1, 1, 0, 0, 1, 1])
    """

    embeddings: Tensor
    labels: Tensor
    written: Tensor

    def __init__(self, loss: Callable[..., Tensor], *, size: int, in_features: int, weight: float = 1.0) -> None:
        super().__init__()
        size, in_features = checks.integer(1, size=size), checks.integer(1, in_features=in_features)
        if not weight >= 0:
            raise ValueError(f"weight = {weight}; expected a number ≥ 0")
        self.loss, self.weight = loss, weight
        self.register_buffer("embeddings", torch.zeros(size, in_features))
        self.register_buffer("labels", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("written", torch.tensor(0))

    @property
    def remembered(self) -> tuple[Float[Tensor, "M D"], Int[Tensor, " M"]]:
        """The embeddings and labels of earlier batches, the oldest first."""
        written, size = int(self.written), len(self.labels)
        order = torch.arange(max(0, written - size), written, device=self.labels.device) % size
        return self.embeddings[order], self.labels[order]

    def forward(self, embeddings: Float[Tensor, "B D"], labels: Int[Tensor, " B"]) -> Float[Tensor, ""]:
        """The loss of a batch, which is then remembered."""
        if embeddings.shape[1:] != self.embeddings.shape[1:]:
            raise ValueError(
                f"embeddings has shape {tuple(embeddings.shape)}; expected (B, {self.embeddings.shape[1]})"
            )
        loss = self.loss(embeddings, labels)
        earlier, theirs = self.remembered
        if bool(torch.isin(labels, theirs).any()):
            loss = loss + self.weight * self.loss(embeddings, labels, ref_emb=earlier.to(embeddings), ref_labels=theirs)
        if self.training:
            self._remember(embeddings.detach(), labels)
        return loss

    @torch.no_grad()
    def _remember(self, embeddings: Tensor, labels: Tensor) -> None:
        size = len(self.labels)
        places = (self.written + torch.arange(len(labels), device=labels.device))[-size:] % size
        self.embeddings[places] = embeddings[-size:].to(self.embeddings)
        self.labels[places] = labels[-size:]
        self.written += len(labels)
