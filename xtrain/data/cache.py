"""Facts and arrays of files, kept below the user's cache directory by the files' names, sizes and mtimes.

A changed file has no entry. Each entry has a hash of what it holds, and is made anew where that differs.
Entries may be deleted at any time. Where the directory can't be written to, nothing is kept; the log says so.
"""

import hashlib
import json
import logging
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import platformdirs

from xtrain.data.base import Arrays, DatasetInfo
from xtrain.errors import DataError

_VERSION = 2  # of what is kept: to be raised when it becomes something else
_DAMAGED = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What an entry raises that was damaged."""

T = TypeVar("T")
_log = logging.getLogger(__name__)
_DIGEST = "sha256"
_PARTS = ("train_images", "train_labels", "test_images", "test_labels")


def key(files: Iterable[Path], *more: object) -> str:
    """Names files as they are now, and whatever else matters; `DataError` where one can't be looked at."""
    known = hashlib.blake2b(digest_size=16)
    for path in files:
        try:
            found = path.stat()
        except OSError as error:
            raise DataError(f"can't be read: {error.strerror}", where=path) from error
        known.update(repr((str(path), found.st_size, found.st_mtime_ns)).encode())
    known.update(repr((_VERSION, *more)).encode())
    return known.hexdigest()


def info(entry: str, measure: Callable[[], DatasetInfo]) -> DatasetInfo:
    """What an entry says of a data set; measured and kept where there is none."""
    path = _folder() / f"{entry}.json"

    def read() -> DatasetInfo:
        kept = json.loads(path.read_text(encoding="utf-8"))
        _compare(kept["sha256"], _text_digest(entry, kept["info"]))
        values: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in kept["info"].items()
        }
        return DatasetInfo(**values)

    def write(found: DatasetInfo, beside: Path) -> None:
        values = json.loads(json.dumps(asdict(found)))
        kept = {"sha256": _text_digest(entry, values), "info": values}
        beside.write_text(json.dumps(kept), encoding="utf-8")

    return _kept(path, read, measure, write)


def arrays(entry: str, decode: Callable[[], Arrays]) -> Arrays:
    """An entry's arrays; decoded and kept where there are none."""
    path = _folder() / f"{entry}.npz"

    def read() -> Arrays:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            found = Arrays(*(kept[part] for part in _PARTS))
            _compare(str(kept[_DIGEST]), _arrays_digest(entry, found))
        return found

    def write(found: Arrays, beside: Path) -> None:
        with beside.open("wb") as file:
            parts = {part: getattr(found, part) for part in _PARTS}
            np.savez(file, **parts, **{_DIGEST: np.array(_arrays_digest(entry, found))})

    return _kept(path, read, decode, write)


def _kept(path: Path, read: Callable[[], T], make: Callable[[], T], write: Callable[[T, Path], object]) -> T:
    """What an entry holds; made anew and kept where there is none, or a damaged one."""
    try:
        return read()
    except FileNotFoundError:
        _log.debug("%s: no such entry yet", path)
    except _DAMAGED as error:
        _log.warning("%s: is damaged, it is made anew: %s: %s", path, type(error).__name__, error)
    found = make()
    _keep(path, lambda beside: write(found, beside))
    return found


def _compare(expected: str, found: str) -> None:
    if found != expected:
        raise ValueError("its hash differs")


def _text_digest(entry: str, values: object) -> str:
    return hashlib.sha256(json.dumps([entry, values], sort_keys=True).encode()).hexdigest()


def _arrays_digest(entry: str, found: Arrays) -> str:
    """SHA-256 of the entry's name and of each array's type, shape and bytes."""
    known = hashlib.sha256(entry.encode())
    for part in _PARTS:
        array = getattr(found, part)
        known.update(f"{part} {array.dtype.str} {array.shape}".encode())
        known.update(np.ascontiguousarray(array).data)
    return known.hexdigest()


def _folder() -> Path:
    return platformdirs.user_cache_path("xtrain") / "own"


def _keep(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside and rename: another process never sees half an entry."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            write(Path(scratch, path.name))
            os.replace(Path(scratch, path.name), path)
    except OSError as error:
        _log.debug("%s: can't be kept: %s", path, error)
