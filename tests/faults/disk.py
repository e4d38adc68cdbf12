"""The operations that change files: counted, and at one of them the process dies or the disk fails.

All of Python's ways to change a file go through the functions of `os` that are wrapped here, built-in `open`
among them, so what the code does later is covered without being listed. `Disk.escaped` has what would not be.
"""

import _io
import builtins
import contextlib
import errno
import io
import os
import stat
import sys
from dataclasses import dataclass
from typing import Any

DIED = 77
"""Exit code of a process that was killed here."""

_BY_PATH = (
    "link",
    "mkdir",
    "mkfifo",
    "remove",
    "rename",
    "replace",
    "rmdir",
    "symlink",
    "truncate",
    "unlink",
)
_BY_PATH += ("chmod", "utime", "setxattr", "removexattr")
_BY_HANDLE = ("fdatasync", "fsync", "ftruncate", "posix_fallocate", "pwrite", "sendfile", "write", "writev")
_BY_HANDLE += ("copy_file_range", "fchmod")
_SYNCS = ("fsync", "fdatasync")
_GROWS = ("open", "mkdir", "mkfifo", "link", "symlink", "write", "writev", "pwrite", "sendfile")
_CHANGING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_AUDITED = {"os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate"}
_FLAGS = {"w": os.O_TRUNC, "a": os.O_APPEND, "x": os.O_EXCL}
_REAL = {name: getattr(os, name) for name in (*_BY_PATH, *_BY_HANDLE, "open") if hasattr(os, name)}
_OPEN = builtins.open


@dataclass(frozen=True)
class Operation:
    """A call that is about to change a file; `number` counts from 1."""

    number: int
    name: str
    given: tuple[Any, ...]
    options: dict[str, Any]

    def do(self):
        """Make the call. A sync waits for nothing: to be killed takes nothing from the system's cache."""
        return None if self.name in _SYNCS else _REAL[self.name](*self.given, **self.options)

    def half(self):
        """Write the first half; nothing of any other operation."""
        if self.name == "write":
            handle, data = self.given
            return _REAL["write"](handle, memoryview(data)[: (len(data) + 1) // 2])
        return None


class Disk:
    """What one process does to files, from `install` to its end.

    Args:
        root: the folder whose files lose what is not synced when the power fails.
        meet: called with this and each operation, in its place.

    """

    def __init__(self, root, meet=lambda disk, operation: operation.do()):
        self.root, self.meet = root, meet
        self.operations, self.escaped = [], []
        self._within, self._synced = False, {}

    def install(self):
        """Wrap; there is no way back, because it belongs in a process of its own."""
        for name in _REAL:
            setattr(os, name, self._wrapped(name))
        for module in (builtins, io, _io):
            module.open = _opened
        sys.addaudithook(self._audit)
        return self

    def lose(self):
        """Cut all files to what was synced of them, as a failing power does."""
        for path in self.root.rglob("*"):
            if path.is_file() and not path.is_symlink():
                found = path.stat()
                size = self._synced.get((found.st_dev, found.st_ino), found.st_size)
                _REAL["truncate"](path, min(size, found.st_size))

    def _wrapped(self, name):
        def wrapped(*given, **options):
            if self._within or not _changes(name, *given):
                return _REAL[name](*given, **options)
            operation = Operation(len(self.operations) + 1, name, given, options)
            self.operations.append(operation)
            self._within = True
            try:
                self._note(operation)
                return self.meet(self, operation)
            finally:
                self._within = False

        return wrapped

    def _note(self, operation):
        """Remember how much of a file is safe: what was there before the first write, or all when synced."""
        if operation.name in _BY_HANDLE:
            found = os.fstat(operation.given[0])
            key = (found.st_dev, found.st_ino)
            if operation.name in _SYNCS or key not in self._synced:
                self._synced[key] = found.st_size

    def _audit(self, event, given):
        changes = event in _AUDITED or (
            event == "open" and isinstance(given[2], int) and given[2] & _CHANGING
        )
        if changes and not self._within and str(self.root) in str(given[0]):
            self.escaped.append(f"{event} {given[0]}")


def _changes(name, *given):
    if name == "open":
        return bool(given[1] & _CHANGING) and str(given[0]) != os.devnull
    if name in _BY_HANDLE:
        mode = os.fstat(given[0]).st_mode
        return stat.S_ISREG(mode) or stat.S_ISDIR(mode)
    return True


class _Raw(io.FileIO):
    """An unbuffered file whose writes are counted."""

    def write(self, data):
        return os.write(self.fileno(), data)

    def truncate(self, size=None):
        size = self.tell() if size is None else size
        os.ftruncate(self.fileno(), size)
        return size


def _opened(file, mode="r", buffering=-1, *more, closefd=True, opener=None, **options):
    """Built-in `open`, by way of `os.open` and `os.write` where it is for writing."""
    if not set(mode) & set("wax+"):
        return _OPEN(file, mode, buffering, *more, closefd=closefd, opener=opener, **options)
    if not isinstance(file, int):
        kind = os.O_RDWR if "+" in mode else os.O_WRONLY
        file = (opener or os.open)(file, kind | os.O_CREAT | _FLAGS[(set(mode) & set("wax")).pop()], 0o666)
    raw = _Raw(file, mode.translate({ord("b"): "", ord("t"): "", ord("x"): "w"}), closefd)
    if buffering == 0:
        return raw
    buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
    return buffered if "b" in mode else io.TextIOWrapper(buffered, *more, **options)


class Die:
    """The process dies `before` an operation (of a write half is done), `after` it, or by a power cut."""

    WAYS = ("before", "after", "power")

    def __init__(self, number, way):
        self.number, self.way = number, way

    def __call__(self, disk, operation):
        if operation.number != self.number:
            return operation.do()
        with contextlib.suppress(OSError):  # such as to remove what is not there
            if self.way == "before":
                operation.half()
            else:
                operation.do()
        if self.way == "power":
            disk.lose()
        os._exit(DIED)


class Fail:
    """The disk fails at an operation: `once`, or from there on `for good`."""

    def __init__(self, number, code, for_good):
        self.number, self.code, self.for_good = number, code, for_good

    def __call__(self, disk, operation):
        later = self.for_good and operation.number > self.number
        # A full disk still removes, renames and syncs.
        refused = later and (self.code != errno.ENOSPC or operation.name in _GROWS)
        if operation.number != self.number and not refused:
            return operation.do()
        if operation.number == self.number:
            operation.half()
        raise OSError(self.code, os.strerror(self.code), *map(os.fspath, self._named(operation)))

    def _named(self, operation):
        return operation.given[:1] if not isinstance(operation.given[0], int) else ()


def short(disk, operation):
    """Each write takes half of what it is given, as a system may."""
    return operation.half() if operation.name == "write" else operation.do()
