"""A call in a process of its own."""

import os
import sys

import pytest

from xtrain.errors import BackendError, XtrainError
from xtrain.system.isolated import apart


def _loaded(name):
    return os.getpid(), name in sys.modules


def _refuses():
    raise BackendError("no such thing", where="here", remedy="do that")


def _dies():
    os._exit(3)


def test_it_is_another_process():
    import sqlite3  # noqa: F401 - something the other process has no reason to load

    process, loaded = apart(_loaded, "sqlite3")
    assert process != os.getpid()
    assert not loaded


def test_what_it_raises_is_raised_here():
    with pytest.raises(BackendError) as raised:
        apart(_refuses)
    assert str(raised.value) == "here: no such thing\n  do that"
    assert raised.value.exit_code == 2


def test_a_process_that_dies_is_an_error():
    with pytest.raises(XtrainError, match=r"test_apart\._dies died"):
        apart(_dies)
