"""SVHN: 99,289 colour images of house numbers' digits, cropped to 32x32 (Y. Netzer et al., 2011).

There are 531,131 easier ones more, which `data.extra` adds to the training images. In the files a 0 has the
label 10, as MATLAB counts from 1; files where that was changed to 0 already are read as well.

Mean and standard deviation are the ones in general use, of the training images without the extra ones.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xtrain.data.base import Arrays, DatasetInfo
from xtrain.data.files import Published, Source, locate
from xtrain.errors import DataError
from xtrain.spec.base import frozen
from xtrain.system.distribution import need

Pair = tuple[NDArray[np.uint8], NDArray[np.int64]]

INFO = DatasetInfo(
    name="svhn",
    title="SVHN, cropped digits",
    input_shape=(3, 32, 32),
    train=73_257,
    test=26_032,
    mean=(0.4377, 0.4438, 0.4728),
    std=(0.1980, 0.2010, 0.1970),
    class_names=tuple("0123456789"),
)
EXTRA = 531_131
TRAIN_FILE, TEST_FILE, EXTRA_FILE = (f"{split}_32x32.mat" for split in ("train", "test", "extra"))
# SHA-256 and sizes are those that TensorFlow Datasets publishes. No mirror with https is known.
SOURCE = Source(
    folder="svhn",
    files={
        TRAIN_FILE: Published(
            "e26dedcc434d2e4c54c9b2d4a06d8373",
            "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            182_040_794,
        ),
        TEST_FILE: Published(
            "eb5a983be6a315427106f1b164d9cef3",
            "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            64_275_384,
        ),
        EXTRA_FILE: Published(
            "a93ce644f1a588dc4d68dda5feec44a7",
            "a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3",
            1_329_278_602,
        ),
    },
    mirrors=("http://ufldl.stanford.edu/housenumbers/",),
)


@frozen
class SVHN:
    """SVHN, the cropped digits.

    Args:
        name: of the data set.
        extra: the extra training images too, after the others.

    """

    name: Literal["svhn"] = "svhn"
    extra: bool = False

    def info(self) -> DatasetInfo:
        """What is published of it."""
        return replace(INFO, train=INFO.train + EXTRA) if self.extra else INFO

    def load(self, data_dir: Path | None) -> Arrays:
        """Both splits; see `xtrain.data.load`."""
        need("scipy", "svhn", "a .mat file of SVHN")  # said before a gigabyte is fetched
        wanted = [name for name in SOURCE.files if self.extra or name != EXTRA_FILE]
        paths = locate(replace(SOURCE, files={name: SOURCE.files[name] for name in wanted}), data_dir)
        train = read_mat(paths[TRAIN_FILE])
        if self.extra:
            (images, labels), (more_images, more_labels) = train, read_mat(paths[EXTRA_FILE])
            train = np.concatenate([images, more_images]), np.concatenate([labels, more_labels])
        return Arrays(*train, *read_mat(paths[TEST_FILE]))


def read_mat(path: Path) -> Pair:
    """Images uint8 [N, 3, 32, 32] and labels int64 [N] of one file, or `DataError`.

    Only for files whose hash was checked: scipy's compiled reader can crash on a file with changed bytes.
    """
    need("scipy", "svhn", "a .mat file of SVHN")
    from scipy import io  # noqa: PLC0415 - slow to import, and seldom needed

    try:
        content = io.loadmat(path, variable_names=["X", "y"])
    except Exception as error:
        raise DataError(f"is not a MATLAB file: {error or type(error).__name__}", where=path) from error
    pixels, labels = content.get("X"), content.get("y")
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[:-1] != (32, 32, 3):
        raise DataError("has no 'X' of [32, 32, 3, N] bytes", where=path)
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "uif" or labels.size != labels.shape[0]:
        raise DataError("has no 'y' of [N, 1] numbers", where=path)
    if len(labels) != pixels.shape[3]:
        raise DataError(f"has {len(labels):,} labels for {pixels.shape[3]:,} images", where=path)
    images = np.ascontiguousarray(pixels.transpose(3, 2, 0, 1))
    return images, _classes(labels.reshape(-1), path)


def _classes(labels: NDArray[np.generic], path: Path) -> NDArray[np.int64]:
    """Labels 0 to 9 of 1 to 10, or of 0 to 9."""
    classes = labels.astype(np.int64)
    if (classes != labels).any() or not np.isin(classes, np.arange(11)).all():
        raise DataError("has a label that is not one of 0 to 10", where=path)
    if np.isin([0, 10], classes).all():
        raise DataError("has labels 0 and 10, which both stand for the digit 0", where=path)
    return classes % 10
