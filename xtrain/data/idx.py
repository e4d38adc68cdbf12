"""The IDX format of MNIST and its kin, gzip-compressed.

Big-endian: two zero bytes, a type (8: unsigned byte), the number of axes, the size of each axis in 32 bits,
then the values, the last axis fastest.
"""

import gzip
import math
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xtrain.data.base import Arrays, DatasetInfo
from xtrain.data.files import Source, locate
from xtrain.errors import DataError

Bytes = NDArray[np.uint8]
Pair = tuple[Bytes, NDArray[np.int64]]

_UNSIGNED_BYTE = 8
_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def load_idx(source: Source, info: DatasetInfo, data_dir: Path | None) -> Arrays:
    """Read a data set of four files named as MNIST's; `DataError` where one is missing or malformed."""
    paths = locate(source, data_dir)
    with ThreadPoolExecutor() as threads:  # zlib lets other threads run
        arrays = list(threads.map(read_idx, (paths[name] for name in _NAMES), (3, 1, 3, 1)))
    train, test = (
        _split(info, paths[_NAMES[place]], paths[_NAMES[place + 1]], arrays[place], arrays[place + 1])
        for place in (0, 2)
    )
    return Arrays(*train, *test)


def _split(info: DatasetInfo, images_path: Path, labels_path: Path, images: Bytes, labels: Bytes) -> Pair:
    """Images [N, 1, height, width] and labels int64 [N], once they fit the data set and one another."""
    if images.shape[1:] != info.input_shape[1:]:
        problem = f"has images of {images.shape[1:]} pixels, not {info.input_shape[1:]}"
        raise DataError(problem, where=images_path)
    if len(labels) != len(images):
        problem = f"has {len(labels):,} labels for the {len(images):,} images of {images_path.name}"
        raise DataError(problem, where=labels_path)
    if labels.size and labels.max() >= info.classes:
        problem = f"has label {labels.max()}, but {info.name} has {info.classes} classes"
        raise DataError(problem, where=labels_path)
    return images.reshape(-1, *info.input_shape), labels.astype(np.int64)


def read_idx(path: Path, axes: int) -> Bytes:
    """An array of unsigned bytes with that many axes; `DataError` where the file is no such one."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"is not a whole gzip file: {error}", where=path) from error
    magic, start = bytes([0, 0, _UNSIGNED_BYTE, axes]), 4 + 4 * axes
    if not content.startswith(magic):
        raise DataError(f"begins with {content[:4].hex(' ')}, not {magic.hex(' ')} as IDX does", where=path)
    if len(content) < start:
        raise DataError(f"ends before the sizes of its {axes} axes do", where=path)
    shape = struct.unpack(f">{axes}I", content[4:start])
    if len(content) - start != math.prod(shape):
        problem = f"has {len(content) - start:,} values, not the {math.prod(shape):,} of shape {shape}"
        raise DataError(problem, where=path)
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()
