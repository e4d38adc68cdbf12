"""Calls in a forked process: it may die, hang or wrap what it likes, and costs milliseconds."""

import os
import pickle
import select
import signal
import time
import traceback
import warnings
from dataclasses import dataclass

from disk import DIED


class Died:
    """What a call that was killed gives."""


class Hung:
    """What a call that did not end in time gives."""


@dataclass(frozen=True)
class Raised:
    """What a call gives that raised, whatever it was."""

    text: str


def forked(call, *given, seconds=60):
    """What `call` gives in a process of its own, which is a copy of this one."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of the test runner: the copy uses none
        child = os.fork()
    if not child:
        _answer(writing, call, given)
    os.close(writing)
    try:
        found = _read(reading, time.monotonic() + seconds)
        if found is None:
            os.kill(child, signal.SIGKILL)
    finally:
        os.close(reading)
        _, status = os.waitpid(child, 0)
    if found is None:
        return Hung()
    if found:
        return pickle.loads(found)  # noqa: S301 - our own process's
    code = os.waitstatus_to_exitcode(status)
    return Died() if code == DIED else Raised(f"the process ended with {code}")


def _answer(writing, call, given):
    write, leave = os.write, os._exit  # before anything wraps them
    try:
        answer = pickle.dumps(call(*given))
    except BaseException:  # noqa: BLE001 - told to the process that waits
        answer = pickle.dumps(Raised(traceback.format_exc()))
    left = memoryview(answer)
    while left:
        left = left[write(writing, left) :]
    leave(0)


def _read(reading, deadline):
    """All that comes until the other side closes; None where that takes too long."""
    parts = []
    while select.select([reading], [], [], max(0, deadline - time.monotonic()))[0]:
        part = os.read(reading, 1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)
    return None
