"""The callbacks of a trainer by their kind, and what they do."""

from typing import TypeVar

import lightning as L
from lightning.pytorch.callbacks import BasePredictionWriter, Callback, ProgressBar

Kind = TypeVar("Kind", bound=Callback)


def callbacks_of(trainer: L.Trainer, kind: type[Kind]) -> list[Kind]:
    """The callbacks of a trainer that are of a kind, in their order."""
    return [
        each for each in vars(trainer)["callbacks"] if isinstance(each, kind)
    ]  # no attribute that Lightning declares


def writes_predictions(callback: Callback) -> bool:
    """Whether a callback does something with what `predict` gives, other than to show how far it is."""
    if isinstance(callback, ProgressBar):
        return False
    own = type(callback).on_predict_batch_end is not Callback.on_predict_batch_end
    return own or isinstance(callback, BasePredictionWriter)
