"""Files that are either the old ones or the new ones, whenever the process is killed. No link is followed."""

import errno
import json
import os
import re
import shutil
import stat
from pathlib import Path
from typing import Any

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # not under Windows


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write beside, sync, rename. Where `path` is a link, the link is replaced and not what it leads to."""
    beside = temporary(path)
    beside.unlink(missing_ok=True)
    try:
        write_new(beside, content)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_new(path: Path, content: str | bytes) -> None:
    """Write a file that is not there yet, with the permissions that the umask leaves, and sync it."""
    data = content.encode() if isinstance(content, str) else content
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o666)
    with open(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def permissions(folder: Path) -> int:
    """Mode of a new file in a folder: what the umask leaves of read and write for all."""
    probe = temporary(folder / "mode")
    write_new(probe, b"")
    try:
        return stat.S_IMODE(probe.stat().st_mode)
    finally:
        probe.unlink()


def open_to_append(path: Path) -> int:
    """A handle that appends to a file, which is made where it is not there. `OSError` where it is a link."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _NO_LINK, 0o666)


def temporary(path: Path, mark: str = "") -> Path:
    """A name beside `path` for what is being written; only this process uses it."""
    return path.with_name(f".{mark}{path.name}.{os.getpid()}")


def is_temporary(name: str, original: str, mark: str = "") -> bool:
    """True for a name that `temporary` gives for one that matches the pattern `original`."""
    return re.fullmatch(rf"\.{mark}({original})\.\d+", name) is not None


def identity(path: Path) -> tuple[int, int] | None:
    """What tells a file or folder from another that takes its name; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def remove(path: Path) -> None:
    """Remove a file, a link itself, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until a folder's entries are on the disk, where the system lets a folder be opened."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def content(path: Path) -> bytes:
    """What a file holds. `OSError` where it is none, such as a named pipe, which would be waited for."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", os.fspath(path))
    return path.read_bytes()


def read_json(path: Path) -> Any:
    """What a JSON file holds. `ValueError` where it is not UTF-8, not JSON, or nested beyond reason."""
    return parse_json(content(path).decode())


def parse_json(text: str) -> Any:
    """The value of a JSON text. `ValueError` for what `read_json` refuses."""
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text that can be shown
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value
