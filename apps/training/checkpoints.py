"""Checkpoints that are complete whenever a run is stopped, and from which it resumes as if it had never stopped."""

import csv
import io
import math
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import CSVLogger

from apps.io.atomic import write_file
from apps.training.signals import Signals, Stopped


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint aside, in the same folder, and renames it: its path never holds a part of one.

    Raises:
        OSError: no space, no permission: the file that was there stays as it is.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike, storage_options: Any | None = None
    ) -> None:
        buffer = io.BytesIO()  # a disk that fills up is then an OSError, not a crash inside torch's writer
        torch.save(checkpoint, buffer)
        write_file(Path(path), lambda part: part.write_bytes(buffer.getbuffer()), sync=True)

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        checkpoint = super().load_checkpoint(*args, **kwargs)
        return {"pytorch-lightning_version": L.__version__, **checkpoint}  # weights alone do not say it


class Checkpoints(Checkpoint):
    """Keeps best.ckpt, of the highest score, and last.ckpt, to go on from, in checkpoints/ of the run's folder.

    last.ckpt is written after each validation, every `every` steps between, and at SIGINT or SIGTERM after the step in
    hand, which then ends the process with 128 plus the signal's number. It is only ever written between two steps, so
    a run that goes on from it is bitwise the unbroken one. It takes along the best checkpoint and metrics.csv of the
    run it goes on from, where they lie beside the checkpoint.

    Args:
        monitor: the score, higher is better; None keeps the last as the best.
        every: steps between two checkpoints, at least 1.
    """

    def __init__(self, *, monitor: str | None, every: int) -> None:
        if every < 1:
            raise ValueError(f"--checkpoint_every {every}; expected at least 1 step")
        self.monitor, self.every = monitor, every
        self.score: float | None = None
        self.saved = -1  # the step of last.ckpt
        self.signals = Signals()
        self.folder = Path()

    @property
    def best(self) -> Path:
        return self.folder / "best.ckpt"

    @property
    def last(self) -> Path:
        return self.folder / "last.ckpt"

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.folder = Path(trainer.log_dir or ".") / "checkpoints"  # on every process: log_dir is broadcast

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == "fit" and trainer.ckpt_path:
            self.saved = checkpoint["global_step"]
            self.score = checkpoint["callbacks"].get(self.state_key, {}).get("score")
            self._take_along(Path(trainer.ckpt_path).absolute(), trainer)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.signals.listen()  # not before: Lightning sets handlers of its own after on_fit_start

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Between two steps: the one before is done, validated and logged. After it, at on_train_batch_end, it is not.
        accumulated = batch_idx % trainer.accumulate_grad_batches == 0
        stop = accumulated and self._stop(trainer)
        due = accumulated and batch_idx > 0 and (stop or trainer.global_step % self.every == 0)
        if due and trainer.global_step != self.saved:
            ready = trainer.fit_loop.epoch_loop.batch_progress
            for count in (ready.total, ready.current):
                count.ready -= 1  # Lightning counts the batch before this hook; the checkpoint is from before it
            self._save_last(trainer)
            for count in (ready.total, ready.current):
                count.ready += 1
        if stop:
            self._exit()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self._save(trainer)
        if self._stop(trainer):
            self._exit()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.global_step != self.saved:  # no validation in this epoch
            self._save(trainer)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.signals.restore()
        if trainer.is_global_zero and not self.best.exists() and self.last.exists():
            link(self.last, self.best)  # no score was a number
        trainer.strategy.barrier()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.signals.restore()
        if trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        if self.saved < 0:
            print(f"stopped at step {trainer.global_step}, before the first checkpoint", flush=True)
            return
        print(f"stopped at step {trainer.global_step}; {self.how_to_go_on()}", flush=True)

    def how_to_go_on(self) -> str:
        """What to say of the last checkpoint; nothing where there is none."""
        if self.saved < 0:
            return ""
        return (
            f"the last checkpoint is of step {self.saved}. Go on with: fit --config {self.folder.parent}/config.yaml "
            f"--ckpt_path {self.last}"
        )

    def state_dict(self) -> dict[str, Any]:
        return {"score": self.score}

    def _save(self, trainer: L.Trainer) -> None:
        better = self.monitor is None
        if self.monitor in trainer.callback_metrics:
            score = float(trainer.callback_metrics[self.monitor])
            better = score > (-math.inf if self.score is None else self.score)
            self.score = score if better else self.score
        self._save_last(trainer)
        if better and trainer.is_global_zero:
            link(self.last, self.best)

    def _save_last(self, trainer: L.Trainer) -> None:
        try:
            for logger in trainer.loggers:
                logger.save()  # what was logged up to here can then be taken along
        except OSError as error:
            raise OSError(f"the log in {self.folder.parent} could not be written: {error.strerror or error}") from error
        trainer.save_checkpoint(self.last)
        self.saved = trainer.global_step

    def _take_along(self, source: Path, trainer: L.Trainer) -> None:
        best = source.with_name("best.ckpt")
        if not best.exists() and self.score is not None:
            self.score = None
            if trainer.is_global_zero:
                print(f"no {best}: the best checkpoint is chosen among those to come", flush=True)
        if trainer.is_global_zero:
            for each, name in ((source, self.last), (best, self.best)):
                if each.is_file():
                    link(each, name)
            carry_metrics(source.parent.parent / "metrics.csv", trainer, self.saved)

    def _stop(self, trainer: L.Trainer) -> bool:
        received = self.signals.received is not None
        return received if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(received, all=False)

    def _exit(self) -> None:
        raise Stopped(128 + (self.signals.received or signal.SIGTERM))


def link(source: Path, target: Path) -> None:
    """Give a checkpoint a second name, as a copy where the disk knows no links. No file is ever changed in place."""

    def write(part: Path) -> None:
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)

    write_file(target, write, sync=True)


def carry_metrics(path: Path, trainer: L.Trainer, step: int) -> None:
    """Begin metrics.csv of this run with the rows of an earlier one before a step."""
    if not path.exists():
        return
    lines = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]  # killed in a line
    rows = [row for row in csv.DictReader(lines) if (row.get("step") or "").isdigit()]
    for logger in trainer.loggers:
        if isinstance(logger, CSVLogger):
            logger.experiment.metrics[:0] = [row for row in rows if int(row["step"]) < step]


def newest(out: Path) -> Path:
    """The last checkpoint of the runs in a folder, by the time it was written.

    Raises:
        ValueError: there is none.
    """
    found = sorted(out.glob("*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise ValueError(f"--ckpt_path last: no run in {out}/ has checkpoints/last.ckpt; leave it out to start anew")
    return found[-1]
