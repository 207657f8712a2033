"""What a loss owes whoever trains with it, whatever it computes: `python -m geomdml.testing --loss my_module:loss`

A loss is called with embeddings (B, D) and integer labels (B,) and gives a number. Its laws: the order of the batch
does not matter; the gradient is that of the value, by finite differences in float64, for the embeddings and for what
the loss learns (a loss that takes a part of it for constant breaks this one, and may mean to); also between equal
embeddings it is a number; and half precision is only that of the embeddings: 16-bit inputs, and autocast, give what
float32 gives on the same numbers. That R processes give the loss of one is asked by `judge_loss`, which starts them.
"""

import copy
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["LAWS", "LawOfLosses", "judge"]

Loss = Callable[[Tensor, Tensor], Tensor]
_CLASSES = 4


class LawOfLosses(NamedTuple):
    """A law, the largest relative error that was found and what is allowed, and what went wrong, if anything did.

    >>> print(LawOfLosses("order of the batch", 1e-16, 1e-12))
    holds       order of the batch                           1e-16    (bar 1e-12)
    """

    name: str
    error: float
    bar: float
    said: str = ""

    @property
    def holds(self) -> bool:
        return not self.said and self.error <= self.bar

    def __str__(self) -> str:
        line = f"{'holds' if self.holds else 'BREAKS':11} {self.name:44} {self.error:<8.2g} (bar {self.bar:.2g})"
        return line + f"\n            {self.said}" * bool(self.said)


def judge(loss: Loss, *, in_features: int = 8, batch: int = 12, examples: int = 5, seed: int = 0) -> list[LawOfLosses]:
    """Ask a loss for each of the `LAWS`, on random batches of four classes, every class in each.

    Args:
        loss: called with embeddings (B, D) and labels (B,); a module's parameters are judged too. Copies of it are
            called, after `torch.manual_seed`, so that one that draws draws the same.
        in_features: dimension D of the embeddings.
        batch: B, at least 4.
        examples: batches for each law.
        seed: of the batches.

    >>> from geomdml.losses import PairwiseCrossEntropyLoss
    >>> all(law.holds for law in judge(PairwiseCrossEntropyLoss(), examples=1))
    True
    """
    found = []
    for name, (law, bar) in LAWS.items():
        worst, said = 0.0, ""
        for number in range(examples):
            generator = torch.Generator().manual_seed(seed + number)
            x = 0.5 * torch.randn(batch, in_features, dtype=torch.float64, generator=generator)
            labels = torch.arange(batch) % _CLASSES
            try:
                worst = max(worst, *(_number(error) for error in law(loss, x, labels, generator)))
            except Exception as raised:  # what another's loss may raise
                worst, said = math.inf, f"raises {type(raised).__name__}: {str(raised).strip().partition(chr(10))[0]}"
        found.append(LawOfLosses(name, worst, bar, said))
    return found


def _number(error: float) -> float:
    return error if math.isfinite(error) else math.inf


def _of(loss: Loss, dtype: torch.dtype) -> tuple[Loss, list[Tensor]]:
    """A copy of the loss in a dtype, and what it learns."""
    torch.manual_seed(0)
    own = copy.deepcopy(loss)
    return own, list(own.to(dtype).parameters()) if isinstance(own, nn.Module) else []


def _relative(found: Tensor, expected: Tensor) -> float:
    difference, size = float((found.double() - expected.double()).norm()), float(expected.double().norm())
    return difference / size if size else difference


def _order(loss: Loss, x: Tensor, labels: Tensor, generator: torch.Generator) -> Iterator[float]:
    order = torch.randperm(len(x), generator=generator)
    (first, _), (second, _) = _of(loss, x.dtype), _of(loss, x.dtype)
    x, y = x.requires_grad_(), x[order].detach().requires_grad_()
    values = first(x, labels), second(y, labels[order])
    yield _relative(*(value.detach() for value in values))
    slopes = [torch.autograd.grad(value, z)[0] for value, z in zip(values, (x, y), strict=True)]
    yield _relative(slopes[1], slopes[0][order])


def _gradient(loss: Loss, x: Tensor, labels: Tensor, generator: torch.Generator) -> Iterator[float]:
    """Along a random direction of all that has a gradient, by central differences."""
    own, learned = _of(loss, x.dtype)
    inputs = [x.requires_grad_(), *(p for p in learned if p.requires_grad)]
    slopes = torch.autograd.grad(own(x, labels), inputs, allow_unused=True)
    for z, slope in zip(inputs, slopes, strict=True):
        way = torch.randn(z.shape, dtype=z.dtype, generator=generator)
        along = float((way * slope).sum()) if slope is not None else 0.0
        values, step = [], 1e-5
        for sign in (1, -1):
            with torch.no_grad():
                z.add_(sign * step * way)
                torch.manual_seed(0)
                values.append(float(copy.deepcopy(own)(x, labels)))
                z.sub_(sign * step * way)
        size = float(slope.norm() * way.norm()) if slope is not None else 0.0
        yield abs((values[0] - values[1]) / (2 * step) - along) / max(size, 1e-3 * abs(values[0]), 1e-12)


def _equal_embeddings(loss: Loss, x: Tensor, labels: Tensor, generator: torch.Generator) -> Iterator[float]:
    for same in (x[:1].expand_as(x), torch.zeros_like(x), torch.cat([x[:4], x[:4], x[8:]])):
        own, learned = _of(loss, torch.float32)
        z = same.float().clone().requires_grad_()
        value = own(z, labels)
        slopes = torch.autograd.grad(value, [z, *learned], allow_unused=True) if value.requires_grad else ()
        finite = all(bool(part.isfinite().all()) for part in (value, *(s for s in slopes if s is not None)))
        yield 0.0 if finite else math.inf


def _half(loss: Loss, x: Tensor, labels: Tensor, generator: torch.Generator) -> Iterator[float]:
    for dtype in (torch.bfloat16, torch.float16):
        rounded = x.to(dtype)
        found = []
        for given, cast in ((rounded.float(), False), (rounded, False), (rounded, True), (rounded.float(), True)):
            own, _ = _of(loss, torch.float32)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=cast):
                found.append(own(given, labels).detach())
        yield from (_relative(value, found[0]) for value in found[1:])


LAWS: dict[str, tuple[Callable[..., Iterator[float]], float]] = {  # and the largest relative error
    "the order of the batch does not matter": (_order, 1e-10),
    "the gradient is that of the value": (_gradient, 1e-6),
    "equal embeddings have finite gradients": (_equal_embeddings, 0.0),
    "half precision is that of the embeddings": (_half, 1e-5),
}
