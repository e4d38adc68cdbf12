"""One's own arrays: an .npz file, or a directory of .npy files.

They are `x_train`, `y_train`, `x_test` and `y_test`, or `train_images`, `train_labels`, `test_images` and
`test_labels`. Images are uint8 [N, H, W], [N, H, W, C] or [N, C, H, W] with 1 or 3 channels; labels are
integers [N] or [N, 1] from 0 on. `class_names`, an array of text, is optional.
"""

import os
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xtrain.data import cache
from xtrain.data.base import AbsolutePath, Arrays, DatasetInfo, measured
from xtrain.errors import DataError
from xtrain.spec.base import frozen

Found = dict[str, NDArray[Any]]

_NAMES = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
)
_CLASS_NAMES = "class_names"
_CHANNELS = (1, 3)

# What a file that is not what it should be makes NumPy raise; RuntimeError: of an encrypted archive.
_MALFORMED = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    MemoryError,
    OverflowError,
    SyntaxError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
)


@frozen
class _OwnArrays:
    """Arrays at a `path`."""

    name: str
    path: AbsolutePath

    def info(self) -> DatasetInfo:
        """What the arrays say of themselves; kept until a file changes."""
        where = _place(self)

        def measure() -> DatasetInfo:
            arrays, class_names = _checked(_found(where), where)
            return measured(self.name, f"arrays of {where.name}", arrays, class_names)

        return cache.info(cache.key(_files(where).values(), self.name), measure)

    def load(self, data_dir: Path | None) -> Arrays:
        """Both splits; `data_dir` is not looked at."""
        where = _place(self)
        return _checked(_found(where), where)[0]


@frozen
class Npz(_OwnArrays):
    """Arrays in one .npz file."""

    name: Literal["npz"] = "npz"


@frozen
class Npy(_OwnArrays):
    """Arrays in a directory of .npy files."""

    name: Literal["npy"] = "npy"


def _place(section: _OwnArrays) -> Path:
    where = Path(section.path)
    # Unlike Path.is_file and is_dir, those of os.path take any name.
    if section.name == "npz" and not os.path.isfile(where):
        raise DataError("there is no such .npz file", where=where)
    if section.name == "npy" and not os.path.isdir(where):
        raise DataError("there is no such directory of .npy files", where=where)
    return where


def _files(where: Path) -> dict[str, Path]:
    """The files that are read, by what they hold; of an archive itself."""
    if where.is_file():
        return {where.name: where}
    names = [*_wanted({path.stem for path in where.glob("*.npy")}, where), _CLASS_NAMES]
    return {name: where / f"{name}.npy" for name in names if (where / f"{name}.npy").is_file()}


def _found(where: Path) -> Found:
    """All arrays wanted, by name."""
    if where.is_dir():
        return {name: _loaded(path) for name, path in _files(where).items()}
    try:
        # np.load leaves a file open that it opened itself and could not read.
        with where.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if not isinstance(archive, Mapping):
                raise ValueError("it holds one array without a name")
            names = [*_wanted(set(archive), where), _CLASS_NAMES]
            return {name: archive[name] for name in names if name in archive}
    except _MALFORMED as error:
        raise DataError(f"is not an .npz file of plain arrays: {error}", where=where) from error


def _loaded(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("it is an archive")
    except _MALFORMED as error:
        raise DataError(f"is not an .npy file of a plain array: {error}", where=path) from error
    return array


def _wanted(names: set[str], where: Path) -> tuple[str, ...]:
    for wanted in _NAMES:
        if names >= set(wanted):
            return wanted
    nearest = max(_NAMES, key=lambda wanted: len(names & set(wanted)))
    problem = f"does not have {', '.join(name for name in nearest if name not in names)}"
    raise DataError(problem, where=where, remedy=f"wanted are {', '.join(nearest)}")


def _checked(found: Found, where: Path) -> tuple[Arrays, tuple[str, ...]]:
    """Arrays and names of the classes, once they fit one another."""
    names = next(wanted for wanted in _NAMES if found.keys() >= set(wanted))
    train, test = _images(found, names[0], where), _images(found, names[2], where)
    if train.shape[1:] != test.shape[1:]:
        problem = f"{names[2]} has images of shape {test.shape[1:]}, {names[0]} of {train.shape[1:]}"
        raise DataError(problem, where=where)
    labels = [
        _labels(found, names[place + 1], len(images), where) for place, images in ((0, train), (2, test))
    ]
    highest = max(int(array.max()) for array in labels)
    if _CLASS_NAMES in found:
        class_names = tuple(map(str, found[_CLASS_NAMES].reshape(-1).tolist()))
    elif highest >= len(train) + len(test):  # a mistake for certain, and so many names would fill the memory
        raise DataError(f"has label {highest}, which is more than it has images", where=where)
    else:
        class_names = tuple(map(str, range(highest + 1)))
    if highest >= len(class_names):
        raise DataError(f"has label {highest}, but class_names has {len(class_names)} names", where=where)
    return Arrays(train, labels[0], test, labels[1]), class_names


def _images(found: Found, name: str, where: Path) -> NDArray[np.uint8]:
    """Images as [N, C, H, W]."""
    array = found[name]
    if array.dtype != np.uint8:
        remedy = "pixels are 0 to 255; of fractions of 1: (x * 255).round().astype('uint8')"
        raise DataError(f"{name} is {array.dtype}, not uint8", where=where, remedy=remedy)
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[3] in _CHANNELS and array.shape[1] not in _CHANNELS:
        array = array.transpose(0, 3, 1, 2)
    elif array.ndim != 4 or array.shape[1] not in _CHANNELS or array.shape[3] in _CHANNELS:
        remedy = "give [N, H, W], [N, H, W, C] or [N, C, H, W] with 1 or 3 channels"
        raise DataError(f"{name} has shape {array.shape}", where=where, remedy=remedy)
    if not array.size:
        raise DataError(f"{name} has no images: its shape is {array.shape}", where=where)
    return np.array(array, order="C")


def _labels(found: Found, name: str, images: int, where: Path) -> NDArray[np.int64]:
    array = found[name]
    if array.dtype.kind not in "iu" or array.shape not in ((images,), (images, 1)):
        problem = f"{name} is {array.dtype} of shape {array.shape}, not integers of shape ({images},)"
        raise DataError(problem, where=where)
    if array.min() < 0 or array.max() > np.iinfo(np.int32).max:
        raise DataError(f"{name} has a label {array.min()} or {array.max()}: they go from 0 on", where=where)
    return array.reshape(-1).astype(np.int64)
