"""Work on all cores, in processes that are started afresh."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def on_all_cores(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    chunk: int,
    killed: Callable[[Item], Result] | None = None,
) -> Iterator[Result]:
    """`map`, in order, `chunk` items at a time to a process; with one core, in this process.

    Args:
        killed: what to give for an item whose process is killed, as the system does where memory is short. When a
            process is killed, the items that were at work are tried again, each alone.

    Raises:
        BrokenProcessPool: a process was killed, and there is no `killed`, or no process can be started; and whatever
            `function` raises.

    >>> list(on_all_cores(abs, [], chunk=1))
    []
    """
    processes = min(cores(), -(-len(items) // chunk))
    if processes <= 1:
        yield from map(function, items)
        return
    done = 0
    while done < len(items):
        try:
            for result in _mapped(function, items[done:], processes, chunk):
                yield result
                done += 1
        except BrokenProcessPool:
            if killed is None:
                raise
            at_work = items[done : done + processes * chunk]
            yield from _one_by_one(function, at_work, killed)
            done += len(at_work)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _pool(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, get_context("spawn"), _follow_parent)


def _mapped(function: Callable[[Item], Result], items: Sequence[Item], processes: int, chunk: int) -> Iterator[Result]:
    with _pool(processes) as pool:
        try:
            yield from pool.map(function, items, chunksize=chunk)
        finally:
            pool.shutdown(cancel_futures=True)


def _one_by_one(
    function: Callable[[Item], Result], items: Sequence[Item], killed: Callable[[Item], Result]
) -> Iterator[Result]:
    """`map` in one process at a time; after an item that has killed it, in a new one."""
    waiting = iter(items)
    ended = False
    while not ended:
        with _pool(1) as pool:
            pool.submit(int).result()  # where no process can be started, the items are not at fault
            ended = True
            for item in waiting:
                try:
                    yield pool.submit(function, item).result()
                except BrokenProcessPool:
                    yield killed(item)
                    ended = False
                    break


def _follow_parent() -> None:
    """A worker leaves Ctrl-C to its parent, which ends it, and ends when the parent was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_after_parent, daemon=True).start()


def _end_after_parent() -> None:
    if parent := parent_process():
        parent.join()
        os._exit(1)
