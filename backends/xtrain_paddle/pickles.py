"""Dictionaries of NumPy arrays, pickled: Paddle's format, of which nothing is run."""

from pathlib import Path
from typing import Any

from xtrain.errors import CheckpointError
from xtrain.system.pickles import Array, Format
from xtrain.system.pickles import unpickle as read

FORMAT = Format(
    title="a Paddle file",
    error=CheckpointError,
    names=frozenset(
        [
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
            ("builtins", "tuple"),
            ("__builtin__", "tuple"),
            *(
                (f"numpy.{core}.multiarray", name)
                for core in ("core", "_core")  # before NumPy 2, and since
                for name in ("_reconstruct", "scalar")
            ),
        ]
    ),
    types=frozenset(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "b1"]),
    encoding="latin1",
)


def unpickle(path: Path) -> dict[str, Any]:
    """What the file holds by name, arrays as NumPy's; `CheckpointError` where it is anything else."""
    entries = read(path, FORMAT)
    if not all(isinstance(name, str) for name in entries):
        raise CheckpointError("is not a Paddle file: it holds no values by name", where=path)
    return {name: _plain(value) for name, value in entries.items()}


def _plain(value: Any) -> Any:
    """Paddle saves some tensors as (name, array)."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], Array):
        value = value[1]
    return value.values if isinstance(value, Array) else value
