"""Ctrl-C and SIGTERM: in training noted when they arrive, acted on when the current step is done; else at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

HANDLED = (signal.SIGINT, signal.SIGTERM)


class Stopped(SystemExit):
    """All processes of a run stop at a step that they have agreed on."""


class Signals:
    """Notes the first SIGINT or SIGTERM; a second one ends the process at once.

    >>> signals = Signals()
    >>> signals.listen()
    >>> signal.raise_signal(signal.SIGTERM)
    >>> signals.received == signal.SIGTERM
    True
    >>> signals.restore()
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.before: dict[int, Any] = {}

    def listen(self) -> None:
        self.before = {number: signal.signal(number, self._note) for number in HANDLED}

    def restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self.restore()
        os.write(2, b"stopping after this step; once more to stop at once\n")  # print may be what was interrupted


@contextmanager
def exit_at_signals() -> Iterator[None]:
    """Within, Ctrl-C and SIGTERM raise SystemExit, so that what is unfinished is removed on the way out.

    The code is 128 plus the signal's number, whatever handlers the process has inherited. Outside of the main thread,
    which alone receives signals, nothing is changed.
    """
    handled = HANDLED if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, _exit) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def leave_to_the_parent(worker: int) -> None:
    """For the workers of a DataLoader: ignore a Ctrl-C, since the current step still needs them."""
    for number in HANDLED:
        signal.signal(number, signal.SIG_IGN)
