"""Dictionaries of NumPy arrays, pickled: Paddle's format, read without running what a file contains.

A file may name what NumPy's arrays are pickled by, and nothing else. Inert stand-ins take the places of those
names, and an array is made once its type, shape and size agree.
"""

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from xtrain.errors import CheckpointError

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
    RecursionError,
)
_ORDERS: dict[str, Literal["<", ">", "|"]] = {"<": "<", ">": ">", "|": "|"}
_CODES = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "b1"}


def unpickle(path: Path) -> dict[str, Any]:
    """What the file holds by name, arrays as NumPy's; `CheckpointError` where it is anything else."""
    try:
        with path.open("rb") as file:
            entries = _Unpickler(file, encoding="latin1").load()
        if not isinstance(entries, dict) or not all(isinstance(name, str) for name in entries):
            raise pickle.UnpicklingError("it holds no values by name")
    except OSError as error:
        raise CheckpointError(f"can't be read: {error.strerror}", where=path) from error
    except _MALFORMED as error:
        raise CheckpointError(
            f"is not a Paddle file: {error or type(error).__name__}",
            where=path,
            remedy="nothing of it was run; don't trust where it came from",
        ) from error
    return {name: _plain(value) for name, value in entries.items()}


def _plain(value: Any) -> Any:
    """Paddle saves some tensors as (name, array)."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], _Array):
        value = value[1]
    return value.values if isinstance(value, _Array) else value


class _Type:
    """Stands for `numpy.dtype`."""

    def __init__(self, code: object, *_: object) -> None:
        if code not in _CODES:
            raise pickle.UnpicklingError(f"it has an array of {code!r}")
        self.dtype = np.dtype(str(code))

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(_ORDERS[str(state[1])])


class _Array:
    """Stands for `numpy.ndarray` and what makes an empty one."""

    def __init__(self, *_: object) -> None:
        self.values = np.empty(0, np.float32)

    def __setstate__(self, state: tuple[object, tuple[int, ...], object, bool, bytes | str]) -> None:
        _version, shape, kind, by_columns, data = state
        raw = data.encode("latin1") if isinstance(data, str) else data
        if not isinstance(kind, _Type) or not isinstance(raw, bytes):
            raise pickle.UnpicklingError("its array is not of numbers")
        if len(raw) != math.prod(shape) * kind.dtype.itemsize or min(shape, default=0) < 0:
            raise pickle.UnpicklingError(f"its array does not have the shape {shape}")
        self.values = np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if by_columns else "C")


def _scalar(kind: object, data: bytes) -> float:
    if not isinstance(kind, _Type):
        raise pickle.UnpicklingError("its number has no type")
    return float(np.frombuffer(data, kind.dtype, count=1)[0])


def _encoded(text: str, encoding: str) -> bytes:
    """How protocol 2 has bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"its bytes are {encoding!r}")
    return text.encode("latin1")


_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encoded,
    **{(module, "tuple"): tuple for module in ("builtins", "__builtin__")},
    **{
        (f"numpy.{core}.multiarray", name): stand_in
        for core in ("core", "_core")  # before NumPy 2, and since
        for name, stand_in in (("_reconstruct", _Array), ("scalar", _scalar))
    },
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _STAND_INS[module, name]
