"""Signals outside of training end a command, with what is unfinished removed."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from apps.training.signals import HANDLED, exit_at_signals


@pytest.mark.parametrize("number", HANDLED)
@pytest.mark.parametrize("inherited", [signal.SIG_IGN, signal.SIG_DFL], ids=["ignored", "default"])
def test_a_signal_unwinds_whatever_was_inherited(number, inherited):
    before, unwound = signal.signal(number, inherited), []
    try:
        with pytest.raises(SystemExit) as exit, exit_at_signals():
            try:
                signal.raise_signal(number)
            finally:
                unwound.append(number)
        assert exit.value.code == 128 + number and unwound == [number]
        assert signal.getsignal(number) == inherited
    finally:
        signal.signal(number, before)


def test_in_another_thread_it_changes_nothing():
    def inside():
        with exit_at_signals():
            return [signal.getsignal(number) for number in HANDLED]

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(inside).result() == [signal.getsignal(number) for number in HANDLED]
