"""Work on all cores, in processes that are started afresh."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def on_all_cores(function: Callable[[Item], Result], items: Sequence[Item], *, chunk: int) -> Iterator[Result]:
    """`map`, in order, `chunk` items at a time to a process; with one core, in this process.

    Raises:
        BrokenProcessPool: a process was killed; and whatever `function` raises.

    >>> list(on_all_cores(abs, [], chunk=1))
    []
    """
    processes = min(cores(), -(-len(items) // chunk))
    if processes <= 1:
        yield from map(function, items)
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), _follow_parent) as pool:
        try:
            yield from pool.map(function, items, chunksize=chunk)
        finally:
            pool.shutdown(cancel_futures=True)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _follow_parent() -> None:
    """A worker leaves Ctrl-C to its parent, which ends it, and ends when the parent was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_after_parent, daemon=True).start()


def _end_after_parent() -> None:
    if parent := parent_process():
        parent.join()
        os._exit(1)
