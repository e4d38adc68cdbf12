"""Observers of a training that happens in another process: its events travel to this one, and are told here.

The observers themselves never leave this process: they need no pickling, and what they remember is seen by
who gave them. Events travel over a socket of this machine, to which only a process with the key can write.
"""

import hmac
import pickle
import secrets
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, cast

from xtrain.errors import XtrainError
from xtrain.training.observers import EpochRecord, Observer, Start, TrainRecord

_KEY = 32  # bytes
_PAUSE = 0.1  # seconds between two looks at whether a training that has not begun still may
_PATIENCE = 5.0  # seconds that a caller has to show its key


class Relay(Observer):
    """Stands in the process that trains for observers in the process that asked for the training.

    It waits until an event was told, and raises where an observer did; only for a step, of which there are
    many, it does not wait: what an observer raises then ends the training at the next event.
    """

    def __init__(self, port: int, key: bytes) -> None:
        self._port, self._key = port, key
        self._stream: Any = None

    def start(self, start: Start) -> None:
        """Connect, and tell that a session begins."""
        connection = socket.create_connection(("127.0.0.1", self._port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # an event waits for no other
        self._stream = connection.makefile("rwb")
        connection.close()  # the stream keeps it open
        self._stream.write(self._key)
        self._tell("start", start)

    def step(self, step: int, samples: int) -> None:
        """A step was handed to the device."""
        self._send("step", step, samples)

    def train(self, record: TrainRecord) -> None:
        """Training figures are known."""
        self._tell("train", record)

    def epoch(self, record: EpochRecord) -> None:
        """An epoch was trained and evaluated."""
        self._tell("epoch", record)

    def stop(self) -> None:
        """The session ends."""
        if self._stream is not None:
            with self._stream:
                self._tell("stop")

    def _tell(self, event: str, *about: Any) -> None:
        self._send(event, *about)
        try:
            raised = pickle.load(self._stream)  # noqa: S301 - from the process that began this one
        except (OSError, EOFError) as error:
            raise _left() from error
        if raised is not None:
            raise XtrainError(f"an observer raised {raised}")

    def _send(self, event: str, *about: Any) -> None:
        try:
            pickle.dump((event, about), self._stream)
            self._stream.flush()
        except OSError as error:
            raise _left() from error


@contextmanager
def relayed(observers: Sequence[Observer]) -> Iterator[list[Observer]]:
    """What to hand to the process that trains in place of `observers`, which are told here, on a thread.

    What an observer raises ends the training there, and is raised here.
    """
    if not observers:
        yield []
        return
    key, desk = secrets.token_bytes(_KEY), _Desk(observers)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(_PAUSE)
        thread = threading.Thread(target=desk.serve, args=(server, key), daemon=True)
        thread.start()
        try:
            yield [Relay(server.getsockname()[1], key)]
        except XtrainError:
            if desk.raised is None:
                raise
            raise desk.raised from None
        finally:
            desk.closed.set()
            thread.join()


class _Desk:
    """Where events arrive; `raised` is the first thing that an observer raised."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers
        self.raised: BaseException | None = None
        self.closed = threading.Event()

    def serve(self, server: socket.socket, key: bytes) -> None:
        """Tell what the one who has the key sends; others are turned away."""
        while not self.closed.is_set():
            with suppress(OSError), server.accept()[0] as connection:  # also where nobody came so far
                connection.settimeout(_PATIENCE)
                with connection.makefile("rwb") as stream:
                    if hmac.compare_digest(stream.read(_KEY), key):
                        connection.settimeout(None)
                        self._tell_all(cast(BinaryIO, stream))
                        return

    def _tell_all(self, stream: BinaryIO) -> None:
        """Every event until the last; where the other process dies, that the session has ended."""
        event = ""
        while event != "stop":
            try:
                event, about = pickle.load(stream)  # noqa: S301 - from a process that this one began
            except (OSError, EOFError):
                self._tell("stop", ())
                return
            self._tell(event, about)
            if event != "step":
                pickle.dump(None if self.raised is None else f"{self.raised!r}", stream)
                stream.flush()

    def _tell(self, event: str, about: Sequence[Any]) -> None:
        for observer in self._observers:
            try:
                getattr(observer, event)(*about)
            except BaseException as error:  # noqa: BLE001 - raised again by `relayed`
                self.raised = self.raised or error


def _left() -> XtrainError:
    return XtrainError("the process that asked for this training has ended, and its observers with it")
