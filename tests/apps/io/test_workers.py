import operator
import os
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
