import operator
import os
import signal
from concurrent.futures.process import BrokenProcessPool
from functools import partial

import pytest

from apps.io import workers
from apps.io.workers import on_all_cores


@pytest.mark.parametrize("cores", [1, 2])
def test_results_come_in_order(monkeypatch, cores):
    monkeypatch.setattr(workers, "cores", lambda: cores)
    assert list(on_all_cores(partial(operator.mul, 3), range(7), chunk=2)) == [0, 3, 6, 9, 12, 15, 18]


def test_one_core_works_in_this_process(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 1)
    assert list(on_all_cores(lambda _: os.getpid(), range(2), chunk=1)) == 2 * [os.getpid()]


def test_an_error_of_a_worker_is_raised(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 2)
    with pytest.raises(ZeroDivisionError):
        list(on_all_cores(partial(operator.truediv, 1), [1, 0, 2], chunk=1))


def third_of(number):
    """3 is killed, as for want of memory."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return 10 * number


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
@pytest.mark.parametrize("items", [range(8), [3, 0, 1, 2], [0, 1, 2, 3], [3, 3]])
def test_an_item_whose_process_is_killed_is_told_and_the_others_are_done(monkeypatch, items):
    monkeypatch.setattr(workers, "cores", lambda: 2)
    found = list(on_all_cores(third_of, items, chunk=1, killed=lambda item: f"{item} killed"))
    assert found == ["3 killed" if item == 3 else 10 * item for item in items]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
def test_a_killed_process_is_an_error_where_nothing_else_is_asked_for(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 2)
    with pytest.raises(BrokenProcessPool):
        list(on_all_cores(third_of, [3, 0], chunk=1))


def die():
    os._exit(1)


def test_no_item_is_blamed_where_no_process_starts(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 2)
    monkeypatch.setattr(workers, "_follow_parent", die)
    with pytest.raises(BrokenProcessPool):
        list(on_all_cores(abs, [1, 2, 3], chunk=1, killed=lambda _: 0))
