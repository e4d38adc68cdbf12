"""Ctrl-C and termination requests: remembered from the moment they come."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interrupt:
    """What a run knows of Ctrl-C.

    While a run is being prepared it stops at once (KeyboardInterrupt). Once `gentle` is set the first one is
    only remembered, for the trainer to save and end; a second one stops at once. One that came before is
    remembered too: a library's import may swallow the exception.
    """

    def __init__(self) -> None:
        self.gentle = False
        self._asked = False

    def asked(self) -> bool:
        """True once it has come."""
        return self._asked

    def take(self, number: int, frame: Any) -> None:
        """The handler of the signal."""
        again, self._asked = self._asked, True
        if again or not self.gentle:
            raise KeyboardInterrupt


@contextmanager
def listening() -> Iterator[Interrupt]:
    """Handle SIGINT and SIGTERM; only the main thread can, elsewhere none ever comes."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = {number: signal.signal(number, interrupt.take) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
