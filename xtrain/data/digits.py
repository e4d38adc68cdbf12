"""Digits: 1,797 grey images of handwritten digits, 8x8 pixels, that come with scikit-learn.

Its file is read in place, because importing scikit-learn takes a hundred times as long as reading it.

Pixels are 0 to 16 in the file; here they are `round(v * 255 / 16)`, which no value leaves in doubt (8 gives
127.5 and 128 is both the larger and the even neighbour).

The split is stratified and fixed. Of the 360 test images each class gets its share of the 1,797, rounded
down, and the five left over go to the classes with the largest remainders. Within a class the test images
are spaced evenly, in the file's order: of n images, t of them for testing, image k is a test image where
`(k + 1) * t // n > k * t // n`. Both splits keep the file's order.
"""

import gzip
import importlib.util
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xtrain.data.base import Arrays, DatasetInfo
from xtrain.data.files import Published, check
from xtrain.errors import DataError
from xtrain.spec.base import frozen

INFO = DatasetInfo(
    name="digits",
    title="Digits of scikit-learn (UCI optical recognition of handwritten digits)",
    input_shape=(1, 8, 8),
    train=1437,
    test=360,
    mean=(0.3053,),
    std=(0.3759,),
    class_names=tuple("0123456789"),
)
_FILE = "datasets/data/digits.csv.gz"
_PUBLISHED = Published(
    "9b335364a7bfd63947c7480a5bd51f2d",
    "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
    57_523,
)
_REINSTALL = "install scikit-learn anew: 1.5 or later, below 2"


def load(data_dir: Path | None = None) -> Arrays:
    """Read the digits; `data_dir` is not looked at, the images come with a dependency."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataError("the digits come with scikit-learn, which is not installed", remedy=_REINSTALL)
    path = Path(package.origin).parent / _FILE
    check({path: _PUBLISHED}, remedy=_REINSTALL)
    with gzip.open(path, "rt", encoding="ascii") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.int64)
    pixels, labels = table[:, :-1], table[:, -1].copy()
    images = ((pixels * 255 + 8) // 16).astype(np.uint8).reshape(-1, *INFO.input_shape)
    test = _test_images(labels)
    return Arrays(images[~test], labels[~test], images[test], labels[test])


def _test_images(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True for each image of the test split."""
    counts = np.bincount(labels)
    shares, remainders = np.divmod(counts * INFO.test, len(labels))
    left_over = INFO.test - shares.sum()
    shares[np.argsort(-remainders, kind="stable")[:left_over]] += 1
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for label, (count, share) in enumerate(zip(counts, shares, strict=True)):
        places = np.arange(count)
        chosen[labels == label] = (places + 1) * share // count > places * share // count
    return chosen


@frozen
class Digits:
    """The digits that come with xtrain."""

    name: Literal["digits"] = "digits"

    def info(self) -> DatasetInfo:
        """What is published of it."""
        return INFO

    def load(self, data_dir: Path | None) -> Arrays:
        """Both splits; see `xtrain.data.load`."""
        return load(data_dir)
