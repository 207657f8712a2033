"""The processes of a run end together: where one is killed, the others do not wait for it."""

import os
import sys
from datetime import timedelta
from threading import Lock, Thread
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import distributed

from apps.training.checkpoints import Checkpoints
from apps.training.messages import GONE, is_gone
from apps.training.signals import Stopped
from geomdml.distributed import rank_and_size

FOREVER = timedelta(days=365)


class EndTogether(Callback):
    """Each process waits for a farewell of the next one, the last for the first's, and ends where it cannot come.

    The system closes the connections of a process that ends, however it ends, and whoever waits for a message on one
    of them is told at once. So the process before a killed one ends, with one line, then the one before that, and so
    on. The processes exchange farewells when they are done, and when they stop together at a signal.

    Args:
        checkpoints: of the run, to say how to go on.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.group: Any = None  # a ProcessGroup; torch types one as a number, too
        self.watch: Thread | None = None
        self.fails = False  # with an error of its own, which it is about to say
        self.ending = Lock()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        rank, count = rank_and_size()
        if count > 1:
            self.group = distributed.new_group(backend="gloo", timeout=FOREVER)
            self.watch = Thread(target=self._await, args=((rank + 1) % count,), daemon=True)
            self.watch.start()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._part()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if self.watch is None:
            return
        if isinstance(exception, Stopped):
            self._part()
        elif is_gone(exception):
            self._end()
        self.fails = True

    def _await(self, other: int) -> None:
        """Wait for the farewell of another process."""
        try:
            distributed.recv(torch.zeros(1), other, group=self.group)
        except RuntimeError:
            if not self.fails:
                self._end()

    def _part(self) -> None:
        """Say farewell to the process before this one, and wait for that of the next one."""
        if self.watch is not None:
            rank, count = rank_and_size()
            distributed.send(torch.zeros(1), (rank - 1) % count, group=self.group)
            self.watch.join()
            distributed.destroy_process_group(self.group)
            self.group = self.watch = None

    def _end(self) -> None:
        """End this process at once: its main thread may wait for the one that has gone."""
        with self.ending:
            how = self.checkpoints.how_to_go_on()
            print(f"error: {GONE}" + (f"; {how}" if how else ""), file=sys.stderr, flush=True)
            os._exit(1)
