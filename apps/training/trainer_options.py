"""Options of Lightning's trainer: those of the user are added to the app's own, or refused by name."""

from collections.abc import Mapping
from typing import Any

from lightning.fabric.plugins import CheckpointIO


def listed(value: Any) -> list[Any]:
    """The values of an option of the trainer that takes one, several or none.

    >>> listed(None), listed("a"), listed(("a", "b"))
    ([], ['a'], ['a', 'b'])
    """
    return list(value) if isinstance(value, list | tuple) else [] if value in (None, True) else [value]


def check_trainer(given: Mapping[str, Any]) -> None:
    """Refuse options of the trainer that a run cannot do with: its folder, logs and checkpoints are its own.

    Raises:
        ValueError: names the option, and says what to give instead.
    """
    if given["default_root_dir"] is not None:
        raise ValueError(
            f"--trainer.default_root_dir {given['default_root_dir']}: expected --out, the folder of all runs"
        )
    if given["logger"] is False:
        raise ValueError("--trainer.logger false: the log is the folder of the run; leave it out")
    if given["enable_checkpointing"] is False:
        raise ValueError("--trainer.enable_checkpointing false: a fit is tested from a checkpoint; leave it out")
    if given["fast_dev_run"]:
        raise ValueError(
            "--trainer.fast_dev_run: it has no folder for its report; expected --trainer.max_epochs 1 "
            "--trainer.limit_train_batches 2 --trainer.limit_val_batches 2 --trainer.limit_test_batches 2"
        )
    for plugin in listed(given["plugins"]):
        if isinstance(plugin, CheckpointIO):
            raise ValueError(
                f"--trainer.plugins {type(plugin).__name__}: checkpoints are written by apps.training.checkpoints, "
                "whole or not at all; leave it out"
            )
