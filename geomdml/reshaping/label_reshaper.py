"""The running class-wise predictions of several modalities, and the labels that balance them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, distributed, nn

from geomdml._core import checks
from geomdml._core.numerics import home, result_form
from geomdml.reshaping.functional import Balance, balance, check_max_alpha, reshaped_labels

__all__ = ["LabelReshaper"]


class LabelReshaper(nn.Module):
    """Soft labels for each of M modalities, mixed with the class relation until all find them equally hard.

    Called with the logits of every modality's own head and the labels of a batch, it takes the predictions into the
    running class-wise means (in training mode only) and gives each head its targets; a head on fused features keeps
    the plain labels. Before a class has been seen its predictions count as uniform.

    The mean Q_m(c) weighs all samples of class c in one batch alike, and a batch `momentum` times as much as the next
    that has the class: a rare class is not forgotten meanwhile. Where `torch.distributed` is initialised the sums are
    taken over all processes, so that these have one state, that of one process with all the samples; every process
    must then make every call, if only with an empty batch. Samples with a prediction that is not finite count nowhere
    (on the CPU they are refused).

    The state is kept and computed in float64, whatever precision the module is cast to; α and R get no gradient. It
    takes M·C² numbers, and so does a step over the processes.

    Args:
        num_classes, modalities: C ≥ 2 and M ≥ 1.
        momentum: in [0, 1]; 0 takes the last batch with the class alone, 1 the mean of all that ever was.
        floor: η in [1e-6, 1), the share of the uniform distribution in the class-wise predictions.
        max_alpha: ᾱ in (0, ½], the most of a label that may be moved, see `geomdml.reshaping.balance`.

    Raises:
        ValueError, TypeError: settings outside these ranges; logits that are not M times (B, C) or not finite, labels
            outside 0…C−1.

    Source: our construction from the abstract of arXiv 2605.28869, not the paper's; see docs/guides/reshaping.md.

    >>> reshaper = LabelReshaper(num_classes=3, modalities=2)
    >>> labels = torch.tensor([0, 1, 2])
    >>> strong, weak = 4 * torch.eye(3), torch.eye(3)
    >>> for_strong, for_weak = reshaper([strong, weak], labels)
    >>> for_strong[0], for_weak[0]
    (tensor([1., 0., 0.]), tensor([0.9238, 0.0381, 0.0381]))
    >>> reshaper.balance().reached  # no mixing makes the weak one as well off as this
    tensor([ True, False])
    """

    sums: Tensor  # (M, C, C) decayed sums of the predictions by class
    counts: Tensor  # (C,) decayed counts of the samples

    def __init__(
        self, num_classes: int, modalities: int, momentum: float = 0.9, *, floor: float = 0.01, max_alpha: float = 0.5
    ) -> None:
        super().__init__()
        num_classes, modalities = checks.integer(2, num_classes=num_classes), checks.integer(1, modalities=modalities)
        checks.numbers(torch.Size(), momentum=momentum, floor=floor)
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum = {momentum}; expected from 0 to 1")
        if not 1e-6 <= floor < 1:
            raise ValueError(f"floor = {floor}; expected at least 1e-6 and below 1")
        check_max_alpha(max_alpha)
        self.num_classes, self.modalities = num_classes, modalities
        self.momentum, self.floor, self.max_alpha = momentum, floor, max_alpha
        self.register_buffer("sums", torch.zeros(modalities, num_classes, num_classes, dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(num_classes, dtype=torch.float64))

    def forward(
        self, logits: Sequence[Float[Tensor, "B C"]] | Float[Tensor, "M B C"], labels: Int[Tensor, " B"]
    ) -> Float[Tensor, "M B C"]:
        """Observe a batch (in training mode), and give each modality's targets for it, on the device of its logits."""
        if self.training:
            self.observe(logits, labels)
        else:
            self._check(logits, labels)
        now = self.balance()
        return reshaped_labels(labels, now.alpha, now.relation).to(**result_form(*logits))

    @torch.no_grad()
    def observe(
        self, logits: Sequence[Float[Tensor, "B C"]] | Float[Tensor, "M B C"], labels: Int[Tensor, " B"]
    ) -> None:
        """Take the predictions softmax(logits) of a batch, by all processes together, into the running means.

        Log-probabilities serve as logits too.
        """
        self._check(logits, labels)
        probabilities = torch.stack([part.to(self.sums) for part in logits]).softmax(-1)
        valid = probabilities.isfinite().all(-1).all(0)
        members = nn.functional.one_hot(labels.to(self.sums.device).long(), self.num_classes) * valid[:, None]
        # a product, not index_add, whose order of summation on a GPU is not fixed
        sums = members.to(self.sums).T @ torch.where(valid[:, None], probabilities, 0.0)
        batch = _over_processes(torch.cat([sums.flatten(), members.sum(0)]))
        sums, counts = batch[: sums.numel()].view_as(sums), batch[sums.numel() :]
        decay = torch.ones_like(counts).masked_fill(counts > 0, self.momentum)
        self.counts.mul_(decay).add_(counts)
        self.sums.mul_(decay[:, None]).add_(sums)

    @torch.no_grad()
    def predictions(self) -> Float[Tensor, "M C C"]:
        """Q[m, c]: the floored running mean of what modality m predicts for class c; uniform for an unseen class."""
        uniform, counts = 1 / self.num_classes, self.counts[:, None]
        means = torch.where(counts > 0, self.sums / counts, uniform)
        return (1 - self.floor) * means + self.floor * uniform

    def balance(self) -> Balance:
        """The present α, class relation and difficulties, to log; see `geomdml.reshaping.balance`."""
        return balance(self.predictions(), max_alpha=self.max_alpha)

    def extra_repr(self) -> str:
        return (
            f"num_classes={self.num_classes}, modalities={self.modalities}, momentum={self.momentum}, "
            f"floor={self.floor}, max_alpha={self.max_alpha}"
        )

    def _check(self, logits: Sequence[Tensor] | Tensor, labels: Tensor) -> None:
        if len(logits) != self.modalities:
            raise ValueError(f"logits has {len(logits)} parts; expected {self.modalities}, one a modality")
        checks.labels(None, self.num_classes, labels=labels)
        for modality, part in enumerate(logits):
            name, wanted = f"logits[{modality}]", (len(labels), self.num_classes)
            checks.floating(**{name: part})
            if part.shape != wanted:
                raise ValueError(f"{name} has shape {tuple(part.shape)}; expected (B, C) = {wanted}")
            checks.finite(**{name: part})

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Follow the model to another device, but not to another precision: in bf16 a running mean stands still."""

        def moved(state: Tensor) -> Tensor:
            device = fn(torch.empty(0, device=state.device)).device
            if home(device) != device:  # has no float64
                return state
            result = fn(state)
            return result if result.dtype == state.dtype else state.to(device)

        return super()._apply(moved, recurse)


def _over_processes(sums: Tensor) -> Tensor:
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(sums)
    return sums
