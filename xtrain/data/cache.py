"""What was once found out about files, kept below the user's cache directory.

An entry's key holds the files' names, sizes and times of change, so a changed file has no entry. Entries may
be deleted at any time. Where the directory can't be written to, nothing is kept and nothing is said of it.
"""

import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from xtrain.data.base import Arrays, DatasetInfo
from xtrain.errors import DataError

_VERSION = 1  # of what is kept: to be raised when it becomes something else
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
"""What an entry raises that is not there, or was damaged: it is made anew."""

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
    with suppress(*_DAMAGED):
        kept = json.loads(path.read_text(encoding="utf-8"))
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in kept.items()}
        return DatasetInfo(**values)
    found = measure()
    _keep(path, lambda beside: beside.write_text(json.dumps(asdict(found)), encoding="utf-8"))
    return found


def arrays(entry: str, decode: Callable[[], Arrays]) -> Arrays:
    """An entry's arrays; decoded and kept where there are none."""
    path = _folder() / f"{entry}.npz"
    with suppress(*_DAMAGED), np.load(path, allow_pickle=False) as kept:
        return Arrays(*(kept[part] for part in _PARTS))
    found = decode()

    def save(beside: Path) -> None:
        with beside.open("wb") as file:
            np.savez(file, **{part: getattr(found, part) for part in _PARTS})

    _keep(path, save)
    return found


def _folder() -> Path:
    return platformdirs.user_cache_path("xtrain") / "own"


def _keep(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside and rename: another process never sees half an entry."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            write(Path(scratch, path.name))
            os.replace(Path(scratch, path.name), path)
