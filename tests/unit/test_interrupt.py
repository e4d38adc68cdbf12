"""Ctrl-C: at once while a run is prepared, gently while it trains, never lost."""

import os
import signal

import pytest

from xtrain.system.interrupt import listening


def _ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def test_while_a_run_is_prepared_it_stops_at_once():
    with pytest.raises(KeyboardInterrupt), listening():
        _ctrl_c()


def test_one_that_a_library_swallows_is_remembered():
    with listening() as interrupt:
        with pytest.raises(KeyboardInterrupt):
            _ctrl_c()
        interrupt.gentle = True
        assert interrupt.asked()


def test_gently_the_first_is_remembered_and_the_second_stops_at_once():
    with listening() as interrupt:
        interrupt.gentle = True
        assert not interrupt.asked()
        _ctrl_c()
        assert interrupt.asked()
        with pytest.raises(KeyboardInterrupt):
            _ctrl_c()


def test_the_handlers_before_come_back():
    before = signal.getsignal(signal.SIGINT)
    with listening():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
