"""Values on their way to another process, whose Python and NumPy may be of other versions.

Pickle, but for what is spelled differently from version to version: arrays (`numpy.core` became
`numpy._core`) and paths (`pathlib` has been a package). They travel as plain values.
"""

import io
import pickle
import sys
from pathlib import Path
from typing import Any

_PROTOCOL = 5  # that every Python since 3.8 has


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:  # it is asked about every value but the plainest
        numpy = sys.modules.get("numpy")  # before it is loaded there are no arrays
        if numpy and isinstance(value, numpy.ndarray | numpy.generic):
            return _reduced(value)
        if isinstance(value, Path):
            return _path, (str(value),)
        return NotImplemented


def packed(value: object) -> bytes:
    """What `unpacked` makes an equal value of, in this process or another."""
    target = io.BytesIO()
    _Pickler(target, _PROTOCOL).dump(value)
    return target.getvalue()


def unpacked(data: bytes) -> Any:
    """The value again. Only for what another process of this user has just packed."""
    return pickle.loads(data)  # noqa: S301 - see above


def _reduced(value: Any) -> Any:
    if value.dtype.hasobject or value.dtype.names:
        return NotImplemented
    numpy = sys.modules["numpy"]
    array = value if isinstance(value, numpy.ndarray) else None
    parts = (value.dtype.str, value.shape, bytearray(value.tobytes()))
    return (_scalar if array is None else _array), parts


def _array(kind: str, shape: tuple[int, ...], data: bytearray) -> Any:
    import numpy as np  # noqa: PLC0415 - where none travels, none is loaded

    return np.frombuffer(data, kind).reshape(shape)


def _scalar(kind: str, shape: tuple[int, ...], data: bytearray) -> Any:
    return _array(kind, shape, data)[()]


def _path(text: str) -> Path:
    return Path(text)
