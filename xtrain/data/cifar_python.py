"""The 'python version' files of CIFAR: Python 2 pickles of a dictionary, read without NumPy's unpickling.

The published files name three globals: `numpy.core.multiarray._reconstruct`, `numpy.ndarray` and
`numpy.dtype`. Inert stand-ins take their places and every other name is refused, so no file can call
anything, and an array is made only once its type, shape and size agree.
"""

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xtrain.data.base import Arrays, DatasetInfo
from xtrain.data.files import Source, locate
from xtrain.errors import DataError

Pair = tuple[NDArray[np.uint8], NDArray[np.int64]]

# What a pickle that is not what it should be makes the unpickler raise.
_MALFORMED = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    OverflowError,
    MemoryError,
)


def load_cifar(source: Source, info: DatasetInfo, label_key: str, data_dir: Path | None) -> Arrays:
    """Read a data set whose test files have names that begin with `test`, the others are for training.

    `label_key` says which labels are read. `DataError` where a file is missing or malformed.
    """
    paths = locate(source, data_dir)
    splits: dict[bool, list[Pair]] = {False: [], True: []}
    for name, path in paths.items():
        splits[name.startswith("test")].append(read_batch(path, info, label_key))
    train, test = (map(np.concatenate, zip(*splits[is_test], strict=True)) for is_test in (False, True))
    return Arrays(*train, *test)


def read_batch(path: Path, info: DatasetInfo, label_key: str) -> Pair:
    """Images uint8 [N, channels, height, width] and labels int64 [N] of one file, or `DataError`."""
    entries = unpickle(path)
    pixels, labels = (entries.get(key.encode()) for key in ("data", label_key))
    if not isinstance(pixels, _Array) or pixels.values.shape[1:] != (math.prod(info.input_shape),):
        raise DataError(f"has no 'data' of [N, {math.prod(info.input_shape)}] bytes", where=path)
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise DataError(f"has no list of integers {label_key!r}", where=path)
    if len(labels) != len(pixels.values):
        raise DataError(f"has {len(labels)} labels for {len(pixels.values)} images", where=path)
    if any(not 0 <= label < info.classes for label in labels):
        problem = f"has a label outside 0 to {info.classes - 1}, the classes of {info.name}"
        raise DataError(problem, where=path)
    return pixels.values.reshape(-1, *info.input_shape), np.array(labels, dtype=np.int64)


def unpickle(path: Path) -> dict[bytes, Any]:
    """The dictionary a file holds; `DataError` where it is no such pickle or names what it may not."""
    try:
        with path.open("rb") as file:
            entries = _Unpickler(file, encoding="bytes").load()
    except OSError as error:
        raise DataError(f"can't be read: {error.strerror}", where=path) from error
    except _MALFORMED as error:
        problem = f"is not a CIFAR file: {error or type(error).__name__}"
        raise DataError(
            problem, where=path, remedy="nothing of it was run; don't trust where it came from"
        ) from error
    if not isinstance(entries, dict):
        raise DataError(f"holds a {type(entries).__name__}, not a dictionary", where=path)
    return entries


class _Type:
    """Stands for `numpy.dtype`; its byte order and the like say nothing of single bytes."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        pass


class _Array:
    """Stands for `numpy.ndarray` and what makes an empty one."""

    def __init__(self, *_: object) -> None:
        self.values = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[object, tuple[int, ...], object, bool, bytes]) -> None:
        _version, shape, kind, by_columns, data = state
        if not isinstance(kind, _Type) or kind.code != b"u1":
            raise pickle.UnpicklingError("its array is not of bytes")
        if not isinstance(data, bytes) or len(data) != math.prod(shape):
            raise pickle.UnpicklingError(f"its array does not have the shape {shape}")
        self.values = np.frombuffer(data, np.uint8).reshape(shape, order="F" if by_columns else "C")


_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _STAND_INS[module, name]
