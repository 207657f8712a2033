"""The callbacks of a trainer by their kind."""

from typing import TypeVar

import lightning as L
from lightning.pytorch.callbacks import Callback

Kind = TypeVar("Kind", bound=Callback)


def callbacks_of(trainer: L.Trainer, kind: type[Kind]) -> list[Kind]:
    """The callbacks of a trainer that are of a kind, in their order."""
    return [
        each for each in vars(trainer)["callbacks"] if isinstance(each, kind)
    ]  # no attribute that Lightning declares
