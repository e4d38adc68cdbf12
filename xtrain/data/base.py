"""What a data set says of itself, and what loading it gives."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from xtrain.spec.parts import Parts

_SOME = 256  # images that are looked at together


def _absolute(path: str) -> str:
    """The run's own copy of a recipe is read from anywhere."""
    return os.path.abspath(os.path.expanduser(path))


AbsolutePath = Annotated[str, Field(min_length=1), AfterValidator(_absolute)]
"""A path that a recipe names, from the current directory."""


class Dataset(Protocol):
    """A data set as a recipe's `[data]` section names it; its fields are keys of that section."""

    @property
    def name(self) -> str:
        """What selects it."""

    def info(self) -> "DatasetInfo":
        """What is known of it; a published one is not loaded for that."""

    def load(self, data_dir: Path | None) -> "Arrays":
        """Read both splits, from files below `data_dir` where they are there."""


DATASETS = Parts[Dataset]("Dataset", "xtrain.data", "name", ("name", "info", "load"))


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What is known of a data set: of a published one without loading it, of one's own by looking at it.

    Args:
        name: what a recipe calls it.
        title: what people call it.
        input_shape: (channels, height, width) of one image.
        train, test: how many images each split has.
        mean, std: of each channel of the training split, pixel values scaled to [0, 1].
        class_names: what each label stands for, in the order of the labels.

    """

    name: str
    title: str
    input_shape: tuple[int, int, int]
    train: int
    test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]

    @property
    def classes(self) -> int:
        """How many classes it has; labels are 0 to classes - 1."""
        return len(self.class_names)


@dataclass(frozen=True)
class Arrays:
    """Both splits in memory, C-contiguous and writable.

    Args:
        train_images, test_images: uint8 [N, channels, height, width], values 0 to 255.
        train_labels, test_labels: int64 [N].

    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]

    def sha256(self) -> str:
        """Hash of all four arrays, with their shapes: what says that two runs saw the same data."""
        digest = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(f"{array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def measured(name: str, title: str, arrays: Arrays, class_names: tuple[str, ...]) -> DatasetInfo:
    """What arrays say of themselves."""
    channels, height, width = arrays.train_images.shape[1:]
    mean, std = statistics(arrays.train_images)
    return DatasetInfo(
        name=name,
        title=title,
        input_shape=(channels, height, width),
        train=len(arrays.train_labels),
        test=len(arrays.test_labels),
        mean=mean,
        std=std,
        class_names=class_names,
    )


def statistics(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of images [N, C, H, W], pixel values scaled to [0, 1].

    Rounded to four places, as published figures are. Pixels and their squares are added up as integers, so
    that the result hangs on no order.
    """
    count = images.size // images.shape[1]
    sums = np.zeros((2, images.shape[1]), dtype=np.int64)
    for start in range(0, len(images), _SOME):
        pixels = images[start : start + _SOME].astype(np.uint32)
        sums[0] += pixels.sum(axis=(0, 2, 3), dtype=np.int64)
        sums[1] += np.square(pixels, out=pixels).sum(axis=(0, 2, 3), dtype=np.int64)
    mean = sums[0] / count
    std = np.sqrt(np.maximum(sums[1] / count - mean**2, 0))
    return tuple(np.round(mean / 255, 4).tolist()), tuple(np.round(std / 255, 4).tolist())
