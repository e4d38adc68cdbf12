"""Pickled NumPy arrays from files that nobody vouches for: nothing of a file is run, nothing makes it large.

Once `opcodes` has looked at a file, `pickle` reads it with inert stand-ins for the few names that it may use,
and an array is made only where its type, shape and size agree.
"""

import math
import pickle
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from xtrain.errors import XtrainError
from xtrain.system import opcodes

_MOST_AXES = 8
_ORDERS: dict[object, Literal["<", ">", "|"]] = {"<": "<", ">": ">", "|": "|"}

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
"""What a pickle that is not what it should be makes the unpickler raise."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """What files of one kind may hold.

    Args:
        title: what such a file is called, with its article.
        error: what is raised where a file is no such one.
        names: module and name of each global that it may use, all of them known to `_stand_in`.
        types: NumPy's codes of the types that its arrays may have.
        encoding: of the texts that Python 2 wrote, `bytes` to leave them as they are.

    """

    title: str
    error: type[XtrainError]
    names: frozenset[tuple[str, str]]
    types: frozenset[str]
    encoding: str = "bytes"


ARRAY_NAMES = frozenset(
    [("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")],
)
"""How NumPy before its version 2 names what an array is made of."""


def unpickle(path: Path, wanted: Format) -> dict[Any, Any]:
    """The dictionary that a file holds, its arrays as `Array`.

    Raises:
        XtrainError: of the kind `wanted.error`, where the file can't be read or is not what is wanted.

    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a FIFO would wait for a writer
            raise wanted.error("is not a regular file", where=path)
        with path.open("rb") as file:
            size = opcodes.check(file)
            entries = _Unpickler(file, wanted, size).load()
    except OSError as error:
        raise wanted.error(f"can't be read: {error.strerror}", where=path) from error
    except _MALFORMED as error:
        raise wanted.error(
            f"is not {wanted.title}: {error or type(error).__name__}",
            where=path,
            remedy="nothing of it was run; don't trust where it came from",
        ) from error
    if not isinstance(entries, dict):
        raise wanted.error(f"holds a {type(entries).__name__}, not a dictionary", where=path)
    return entries


class _Unpickler(pickle.Unpickler):
    """`pickle` with stand-ins in the place of every name."""

    def __init__(self, file: IO[bytes], wanted: Format, size: int) -> None:
        super().__init__(file, encoding=wanted.encoding)
        self._wanted, self._left = wanted, size

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in self._wanted.names:
            raise pickle.UnpicklingError(f"it names {module:.80}.{name:.80}")
        stand_ins: dict[str, Callable[..., Any]] = {
            "_reconstruct": partial(Array, self.raw),
            "ndarray": partial(Array, self.raw),
            "dtype": partial(_Type, self._wanted.types),
            "scalar": partial(_scalar, self.raw),
            "encode": self._encoded,
            "tuple": _tuple,
        }
        return stand_ins[name]

    def _encoded(self, text: str, encoding: str) -> bytes:
        """How protocol 2 has bytes."""
        if encoding != "latin1":
            raise pickle.UnpicklingError("its bytes are not in latin1")
        return self.raw(text)

    def raw(self, data: object) -> bytes:
        """Bytes, also of a text; of all texts together, no more than the file itself has."""
        if isinstance(data, str):
            self._left -= len(data)
            if self._left < 0:
                raise pickle.UnpicklingError("it is larger unpacked than the file")
            return data.encode("latin1")
        if not isinstance(data, bytes):
            raise pickle.UnpicklingError("its array is not of numbers")
        return data


def _text(value: object) -> str:
    if not isinstance(value, str | bytes):
        raise pickle.UnpicklingError("it has an array of an odd type")
    return value if isinstance(value, str) else value.decode("latin1")


class _Type:
    """Stands for `numpy.dtype`."""

    def __init__(self, allowed: frozenset[str], code: object, *_: object) -> None:
        if _text(code) not in allowed:
            raise pickle.UnpicklingError(f"it has an array of {_text(code)[:20]!r}")
        self.dtype = np.dtype(_text(code))

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(_ORDERS[_text(state[1])])


class Array:
    """Stands for `numpy.ndarray` and what makes an empty one; `values` are the array itself, read only."""

    def __init__(self, raw: Callable[[object], bytes], *_: object) -> None:
        self._raw = raw
        self.values: NDArray[Any] = np.empty(0, np.float32)

    def __setstate__(self, state: tuple[object, tuple[int, ...], object, bool, object]) -> None:
        _version, shape, kind, by_columns, data = state
        if not isinstance(kind, _Type):
            raise pickle.UnpicklingError("its array is not of numbers")
        if len(shape) > _MOST_AXES or not all(type(size) is int and size >= 0 for size in shape):
            raise pickle.UnpicklingError("its array has no shape")
        raw = self._raw(data)
        if len(raw) != math.prod(shape) * kind.dtype.itemsize:
            raise pickle.UnpicklingError(f"its array does not have the shape {shape}")
        self.values = np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if by_columns else "C")


def _tuple(values: object) -> object:
    if not isinstance(values, tuple):
        raise pickle.UnpicklingError("it makes a tuple of something else")
    return values


def _scalar(raw: Callable[[object], bytes], kind: object, data: object) -> float:
    if not isinstance(kind, _Type):
        raise pickle.UnpicklingError("its number has no type")
    return float(np.frombuffer(raw(data), kind.dtype, count=1)[0])
