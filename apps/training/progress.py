"""Lines that say how a run goes, for people and for log files, and its history for the report."""

import sys
import time
from collections.abc import Mapping
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

SECONDS_BETWEEN_LINES = 20.0


class Progress(Callback):
    """Prints a line an epoch (and, where no progress bar can be shown, one every 20 seconds); keeps the history.

    The history, a list of (step, {name: value}), is part of the checkpoint: it goes on in a resumed run.

    Args:
        shown: what a line an epoch says beside the loss: {its words: the name of a logged value}.
    """

    def __init__(self, *, shown: Mapping[str, str]) -> None:
        self.shown = shown
        self.history: list[tuple[int, dict[str, float]]] = []
        self.started = self.last_line = time.monotonic()

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.started = self.last_line = time.monotonic()
        _say(trainer, f"run folder: {trainer.log_dir}")

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        now = time.monotonic()
        if not sys.stdout.isatty() and now - self.last_line > SECONDS_BETWEEN_LINES:
            self.last_line = now
            _say(trainer, f"step {trainer.global_step}/{_total(trainer)}, loss {_number(trainer, 'loss')}")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.history.append((trainer.global_step, values))
        if trainer.state.fn != "fit":
            return
        self.last_line = time.monotonic()
        values_shown = ", ".join(f"{words} {_number(trainer, name)}" for words, name in self.shown.items())
        _say(
            trainer,
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}, step {trainer.global_step}/{_total(trainer)}: "
            f"loss {_number(trainer, 'loss')}, {values_shown}, {time.monotonic() - self.started:.0f} s",
        )

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        loaded = list(state_dict["history"])
        if len(loaded) > len(
            self.history
        ):  # a test after a fit loads the best checkpoint, which knows less than the fit
            self.history = loaded


def _number(trainer: L.Trainer, name: str) -> str:
    value = trainer.callback_metrics.get(name)
    return "–" if value is None else f"{float(value):.2f}"


def _total(trainer: L.Trainer) -> str:
    total = trainer.estimated_stepping_batches
    return f"{int(total)}" if total != float("inf") else "∞"


def _say(trainer: L.Trainer, line: str) -> None:
    if trainer.is_global_zero:
        print(line, flush=True)
