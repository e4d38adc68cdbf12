"""The 'python version' files of CIFAR: Python 2 pickles of a dictionary, of which nothing is run."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xtrain.data.base import Arrays, DatasetInfo
from xtrain.data.files import Source, locate
from xtrain.errors import DataError
from xtrain.system.pickles import ARRAY_NAMES, Array, Format, unpickle

Pair = tuple[NDArray[np.uint8], NDArray[np.int64]]

FORMAT = Format(title="a CIFAR file", error=DataError, names=ARRAY_NAMES, types=frozenset(["u1"]))


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
    entries = unpickle(path, FORMAT)
    pixels, labels = (entries.get(key.encode()) for key in ("data", label_key))
    if not isinstance(pixels, Array) or pixels.values.shape[1:] != (math.prod(info.input_shape),):
        raise DataError(f"has no 'data' of [N, {math.prod(info.input_shape)}] bytes", where=path)
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise DataError(f"has no list of integers {label_key!r}", where=path)
    if len(labels) != len(pixels.values):
        raise DataError(f"has {len(labels)} labels for {len(pixels.values)} images", where=path)
    if any(not 0 <= label < info.classes for label in labels):
        problem = f"has a label outside 0 to {info.classes - 1}, the classes of {info.name}"
        raise DataError(problem, where=path)
    images: NDArray[np.uint8] = pixels.values.reshape(-1, *info.input_shape)
    return images, np.array(labels, dtype=np.int64)
