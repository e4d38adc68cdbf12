"""Digits: 1,797 grey images of handwritten digits, 8x8 pixels, that come with xtrain.

They are the test set of UCI's optical recognition of handwritten digits, in the order that scikit-learn has
them; `digits.txt` beside this file names source and licence.

Pixels are 0 to 16 in the file; here they are `round(v * 255 / 16)`, which no value leaves in doubt (8 gives
127.5 and 128 is both the larger and the even neighbour).

The split is stratified and fixed. Of the 360 test images each class gets its share of the 1,797, rounded
down, and the five left over go to the classes with the largest remainders. Within a class the test images
are spaced evenly, in the file's order: of n images, t of them for testing, image k is a test image where
`(k + 1) * t // n > k * t // n`. Both splits keep the file's order.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xtrain.data.base import Arrays, DatasetInfo
from xtrain.data.files import Published, check
from xtrain.spec.base import frozen
from xtrain.system.distribution import restore_command

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
_FILE = Path(__file__).with_name("digits.npz")
"""`images` uint8 [1797, 8, 8] of 0 to 16, `labels` uint8 [1797]."""
_PUBLISHED = Published(
    "35fa292850aefdac88ea117403394609",
    "b2dab7b501728c22e9119ad76740b2e17c77a231e42d1e592380d90886f1a05e",
    45_394,
)


def load(data_dir: Path | None = None) -> Arrays:
    """Read the digits; `data_dir` is not looked at, the images come with xtrain."""
    check({_FILE: _PUBLISHED}, remedy=restore_command(_FILE))
    with np.load(_FILE, allow_pickle=False) as file:
        pixels, labels = file["images"].astype(np.int64), file["labels"].astype(np.int64)
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
