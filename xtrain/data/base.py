"""What a data set says of itself, and what loading it gives."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What is known of a data set without loading it.

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
