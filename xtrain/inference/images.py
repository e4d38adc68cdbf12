"""Images from files, as a run's data has them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from xtrain.data.image_folder import ImageFolder, read_image
from xtrain.errors import DataError, UsageError
from xtrain.recipe import Job

_MODES = {1: "L", 3: "RGB"}
"""What Pillow calls images of so many channels."""


def is_paths(images: Any) -> TypeGuard[str | Path | Sequence[str | Path]]:
    """True for a path, and for a sequence of nothing but paths."""
    if isinstance(images, str | Path):
        return True
    listed = isinstance(images, list | tuple) and len(images) > 0
    return listed and all(isinstance(each, str | Path) for each in images)


def read_images(paths: str | Path | Sequence[str | Path], job: Job) -> NDArray[np.uint8]:
    """Uint8 [B, C, H, W] of PNG and JPEG files, in the run's channels and of the size of its images.

    An image folder's `image_size` and `fit` bring them to their size, as they did in the training.
    `DataError` names the file that can't be read, or is not of the size that is needed.
    """
    channels = job.data.input_shape[0]
    if channels not in _MODES:
        raise UsageError(
            f"the run's images have {channels} channels, and files are read with 1 or 3",
            remedy="read them yourself, and give uint8 arrays",
        )
    listed = [paths] if isinstance(paths, str | Path) else paths
    return np.stack([_read(Path(path), job, _MODES[channels]) for path in listed])


def _read(path: Path, job: Job, mode: str) -> NDArray[np.uint8]:
    """Uint8 [C, H, W]."""
    dataset = job.recipe.data.dataset
    size, fit = (dataset.image_size, dataset.fit) if isinstance(dataset, ImageFolder) else (None, None)
    found = read_image(path, size, fit, mode)
    if isinstance(found, str):
        raise DataError(f"can't be read: {found}", where=path)
    image = found[None] if found.ndim == 2 else found.transpose(2, 0, 1)
    wanted = job.data.input_shape
    if image.shape != wanted:
        height, width = image.shape[1:]
        raise DataError(
            f"is {width}x{height}, and the run's images are {wanted[2]}x{wanted[1]}",
            where=path,
            remedy=f"scale it to {wanted[2]}x{wanted[1]} first",
        )
    return image
