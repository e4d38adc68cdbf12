"""Lines between processes that work together: when one ends without a word, all end.

No launcher of a framework sees on every CPU that a process has died while the others wait for its part in a
sum. The system closes the connections of a process that dies, however it dies, so each holds one to a hub:
when one is closed without a farewell the hub closes them all, and who sees its own closed ends at once. What
is written by then is whole: checkpoints come into being by a rename.
"""

import hmac
import os
import secrets
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

LINE = "XTRAIN_LIFELINE"
"""The variable by which a process learns where its line goes."""

_KEY = 16  # bytes
_FAREWELL = b"."
_PATIENCE = 5.0  # seconds that a caller has to say who it is
_SIZE = 8  # bytes of a rank and the number of its process


@dataclass(frozen=True)
class Address:
    """Where a hub listens, and what opens it."""

    host: str
    port: int
    key: str

    def __str__(self) -> str:
        return f"{self.host} {self.port} {self.key}"

    @classmethod
    def read(cls, text: str) -> "Address":
        """The address that `str` gave."""
        host, port, key = text.split()
        return cls(host, int(port), key)


class Hub:
    """Where the lines come together.

    `lost` is the first that ended without a farewell: its rank and its process.
    """

    def __init__(self, host: str = "127.0.0.1", told: str = "") -> None:
        self._server = socket.create_server(("" if told else host, 0))
        self.address = Address(told or host, self._server.getsockname()[1], secrets.token_hex(_KEY))
        self.lost: tuple[int, int] | None = None
        self.broken = threading.Event()
        self._lines: dict[socket.socket, int] = {}
        self._lock, self._closed = threading.Lock(), False
        threading.Thread(target=self._accept, name="xtrain-hub", daemon=True).start()

    def close(self, patience: float = 0.0) -> None:
        """No more lines; who has said no farewell within `patience` seconds ends with its line."""
        until = time.monotonic() + patience
        while self._lines and time.monotonic() < until:
            time.sleep(0.01)
        self._closed = True
        self._server.close()
        self._cut()

    @property
    def left(self) -> list[int]:
        """Numbers of processes that hold a line: they have not ended."""
        return list(self._lines.values())

    def _accept(self) -> None:
        with suppress(OSError):  # the server is closed
            while True:
                line = self._server.accept()[0]
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with suppress(OSError), line:
            line.settimeout(_PATIENCE)
            key, who = _exactly(line, 2 * _KEY), struct.unpack("!II", _exactly(line, _SIZE))
            if not hmac.compare_digest(key, self.address.key.encode()):
                return
            line.settimeout(None)
            with self._lock:
                self._lines[line] = who[1]
            if self.lost or self._closed:  # it comes too late
                self._cut()
            said = b""
            with suppress(OSError):
                said = line.recv(1)
            with self._lock:
                del self._lines[line]
                if said == _FAREWELL or self._closed or self.lost:
                    return
                self.lost = who
            self._cut()
            self.broken.set()

    def _cut(self) -> None:
        """Tell all; the other side of a line is closed by the end of its process."""
        with self._lock:
            for line in self._lines:
                with suppress(OSError):
                    line.shutdown(socket.SHUT_WR)


@contextmanager
def held(address: Address, rank: int) -> Iterator[None]:
    """Hold a line while something is done; once it is cut, this process ends.

    Where what is done fails, the line ends without a farewell, and so do all that hold one.
    """
    line = socket.create_connection((address.host, address.port), timeout=_PATIENCE)
    line.settimeout(None)
    line.sendall(address.key.encode() + struct.pack("!II", rank, os.getpid()))
    done = threading.Event()

    def watch() -> None:
        with suppress(OSError):
            while line.recv(1):
                pass
        if not done.is_set():
            sys.stderr.write("another process of this training has ended, so this one ends\n")
            sys.stderr.flush()
            os._exit(1)  # the main thread may wait for a sum that never comes

    threading.Thread(target=watch, name="xtrain-lifeline", daemon=True).start()
    try:
        yield
        done.set()
        with suppress(OSError):
            line.sendall(_FAREWELL)
    finally:
        done.set()
        line.close()


def _exactly(line: socket.socket, size: int) -> bytes:
    """So many bytes. `OSError` where they do not come."""
    got = b""
    while len(got) < size:
        part = line.recv(size - len(got))
        if not part:
            raise ConnectionError("the line has ended")
        got += part
    return got
