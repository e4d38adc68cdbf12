"""Locks on folders: held by a process, let go of by the system when it dies, and not removable."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF)


class NoLocksError(OSError):
    """The file system has no locks."""


class Held:
    """A folder that is held: it can be asked whether it still lies where it did."""

    def __init__(self, folder: Path, handle: int | None) -> None:
        self._folder, self._handle = folder, handle

    def moved(self) -> bool:
        """True where the folder was moved or removed, so that its path means nothing or something else."""
        if self._handle is None:
            return not self._folder.is_dir()
        try:
            return not os.path.samestat(os.stat(self._folder), os.fstat(self._handle))
        except OSError:
            return True

    def renamed(self, folder: Path) -> "Held":
        """The same, at the path that this process has given to the folder."""
        return Held(folder, self._handle)


@contextmanager
def locked(folder: Path, *, shared: bool = False) -> Iterator[Held]:
    """Hold a folder; `shared` with others that share it.

    The lock is on the folder itself: no file can be deleted to let a second process in.

    Raises:
        BlockingIOError: another process holds it.
        NoLocksError: the file system has no locks.

    """
    if fcntl is None:
        with _lock_file(folder, shared):
            yield Held(folder, None)
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno in _NO_LOCKS:
                raise NoLocksError(error.errno, error.strerror) from error
            raise
        yield Held(folder, handle)
    finally:
        os.close(handle)


@contextmanager
def watched(folder: Path) -> Iterator[Held]:
    """Keep an eye on a folder that can't be locked."""
    handle = os.open(folder, os.O_RDONLY) if fcntl else None
    try:
        yield Held(folder, handle)
    finally:
        if handle is not None:
            os.close(handle)


@contextmanager
def _lock_file(folder: Path, shared: bool) -> Iterator[None]:
    """Under Windows, which opens no folder and deletes no open file: a file in the folder, exclusive only."""
    if shared:
        yield
        return
    import msvcrt  # noqa: PLC0415 - Windows alone

    with (folder / ".lock").open("a+b") as file:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError as error:
            raise BlockingIOError(error.errno, error.strerror) from error
        try:
            yield
        finally:
            with suppress(OSError):
                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]
