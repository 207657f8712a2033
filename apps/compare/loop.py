"""The training loop of every comparison."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from apps.compare.harness import Evaluation, Trial
from apps.training.divergence import Diverged


class Batches(Protocol):
    """The batches of an epoch, which are a function of its number."""

    def set_epoch(self, epoch: int) -> None: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...


def train(
    trial: Trial,
    batches: Batches,
    step: Callable[[Any, int, int], Tensor],
    score: Callable[[bool], dict[str, float]],
    optimiser: Callable[[int], tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]],
    *,
    epochs: int,
    per: Literal["step", "epoch"] = "step",
    before_update: Callable[[torch.optim.Optimizer, float], None] | None = None,
) -> Iterator[Evaluation]:
    """Train a trial to its end, and give its scores at the trial's moments and after the last step.

    The caller makes the model, seeds what is random and moves data; the loop knows neither. A step that diverges
    (`apps.training.divergence.Diverged`) changes no weight, and the training is scored to its end.

    Args:
        trial: says when to score, and after how many steps to stop.
        batches: what `step` is given, one after another.
        step: (batch, epoch, its place in the epoch) to the loss.
        score: the scores; its argument says whether the training is over.
        optimiser: a number of steps to the optimiser and the learning-rate schedule of a training as long.
        epochs: how long to train where the trial does not say.
        per: when the schedule advances; with "epoch" the end of each epoch is scored too.
        before_update: called between the backward pass and the update with the optimiser, and the share of the training
            that is done.
    """
    last = trial.steps or epochs * len(batches)
    optimizer, scheduler = optimiser(last)
    done = 0
    if 0 in trial.moments:
        yield Evaluation(0, 0.0, score(False))
    for epoch in itertools.count():
        batches.set_epoch(epoch)
        for place, batch in enumerate(batches):
            try:
                loss = step(batch, epoch, place)
            except Diverged:
                pass
            else:
                optimizer.zero_grad()
                loss.backward()
                if before_update is not None:
                    before_update(optimizer, done / last)
                optimizer.step()
            if per == "step":
                scheduler.step()
            done += 1
            ends_epoch = per == "epoch" and done % len(batches) == 0
            if done in trial.moments or ends_epoch or done == last:
                yield Evaluation(done, round(done / len(batches), 4), score(done == last))
            if done == last:
                return
        if per == "epoch":
            scheduler.step()
