"""Work on all cores, in processes that are started afresh."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
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
    # Ctrl-C reaches the workers too: they leave it to this process, which ends them.
    ignore_interrupt = (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(processes, get_context("spawn"), signal.signal, ignore_interrupt) as pool:
        try:
            yield from pool.map(function, items, chunksize=chunk)
        finally:
            pool.shutdown(cancel_futures=True)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
