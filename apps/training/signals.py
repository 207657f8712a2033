"""Ctrl-C and SIGTERM: noted when they arrive, acted on when the current step is done."""

import os
import signal
from types import FrameType
from typing import Any

HANDLED = (signal.SIGINT, signal.SIGTERM)


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


def leave_to_the_parent(worker: int) -> None:
    """For the workers of a DataLoader: ignore a Ctrl-C, since the current step still needs them."""
    for number in HANDLED:
        signal.signal(number, signal.SIG_IGN)
