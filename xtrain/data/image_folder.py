"""One's own images: a directory with `train/CLASS/*` and `test/CLASS/*` (or `val`) of PNG and JPEG files.

Classes are the names of the folders, in alphabetical order. Images are read in the order of their names, as
torchvision's ImageFolder does, and become RGB, also grey and transparent ones. They are decoded once; after
that the arrays come from the user's cache directory, until a file changes.

`data.image_size` gives all images that height and width. With `data.fit = "resize"` the whole image is scaled
to it, whatever its proportions; with `"center_crop"` its smaller side is, and the middle of the larger one is
cut out. Pillow does both, as under torchvision.transforms.Resize and CenterCrop.
"""

import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from xtrain.data import cache
from xtrain.data.base import AbsolutePath, Arrays, DatasetInfo, measured
from xtrain.errors import DataError
from xtrain.spec.base import Side, frozen
from xtrain.system.distribution import need

if TYPE_CHECKING:
    from PIL import Image

_READ = (".png", ".jpg", ".jpeg")
_NOT_READ = (".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".avif", ".heic")
_SHOWN = 5  # of the broken files
_LARGEST = 1 << 26  # pixels; more is no training image, and would be gigabytes when it is decoded


@dataclass(frozen=True)
class Folder:
    """The files of both splits, by class."""

    class_names: tuple[str, ...]
    train: tuple[tuple[Path, int], ...]
    test: tuple[tuple[Path, int], ...]

    @property
    def files(self) -> list[Path]:
        """All of them."""
        return [path for path, _ in (*self.train, *self.test)]


@frozen
class ImageFolder:
    """A directory of images.

    Args:
        path: where it lies.
        image_size: height and width that all images get; None: they have one size already.
        fit: how they get it.

    """

    name: Literal["image_folder"] = "image_folder"
    path: AbsolutePath
    image_size: Side | None = None
    fit: Literal["resize", "center_crop"] = "resize"

    def info(self) -> DatasetInfo:
        """What the images say of themselves; kept until a file changes."""
        folder = scan(Path(self.path))

        def measure() -> DatasetInfo:
            title = f"images of {Path(self.path).name}"
            return measured(self.name, title, _arrays(folder, self), folder.class_names)

        return cache.info(_key(folder, self), measure)

    def load(self, data_dir: Path | None) -> Arrays:
        """Both splits; `data_dir` is not looked at."""
        return _arrays(scan(Path(self.path)), self)


def scan(where: Path) -> Folder:
    """The files of a folder, or `DataError` where it is not laid out as it should be."""
    if not os.path.isdir(where):  # unlike Path.is_dir it takes any name
        raise DataError("there is no such directory", where=where)
    train, test = where / "train", where / ("test" if (where / "test").is_dir() else "val")
    for split in (train, test):
        if not split.is_dir():
            remedy = "wanted are DIR/train/CLASS/*.png (or .jpg) and DIR/test/CLASS/* (or DIR/val/CLASS/*)"
            raise DataError(f"there is no directory {split.name}", where=where, remedy=remedy)
    class_names = tuple(_folders(train))
    if not class_names:
        raise DataError("has no folder for any class", where=train)
    for name in _folders(test):
        if name not in class_names:
            raise DataError(f"has class {name!r}, which {train} has not", where=test)
    found = [
        tuple((path, label) for label, name in enumerate(class_names) for path in _images(split / name))
        for split in (train, test)
    ]
    for name in class_names:
        if not any(path.parent.name == name for path, _ in found[0]):
            raise DataError("has no .png, .jpg or .jpeg file", where=train / name)
    if not found[1]:
        raise DataError("has no .png, .jpg or .jpeg file in any class", where=test)
    return Folder(class_names, *found)


def sizes(folder: Folder) -> set[tuple[int, int]]:
    """Every (width, height) that the images of a folder have; those that can't be read are passed over."""
    need("PIL", "images", "a folder of images")
    from PIL import Image  # noqa: PLC0415 - only for image folders

    found = set()
    for path in folder.files:
        with suppress(Exception), Image.open(path, formats=("PNG", "JPEG")) as image:  # its head alone
            found.add(image.size)
    return found


def _folders(where: Path) -> list[str]:
    return sorted(path.name for path in where.iterdir() if path.is_dir() and not path.name.startswith("."))


def _images(where: Path) -> list[Path]:
    """Image files by name; what is no image is passed over, an image of another format is an error."""
    files = sorted(where.iterdir()) if where.is_dir() else []
    for path in files:
        if path.suffix.lower() in _NOT_READ:
            raise DataError(f"only PNG and JPEG are read, not {path.suffix}", where=path)
    images = [path for path in files if path.suffix.lower() in _READ and not path.name.startswith(".")]
    for path in images:
        _check_regular(path)
    return images


def _check_regular(path: Path) -> None:
    """`DataError` for a FIFO, socket or device, which might never end; a link is what it leads to."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise DataError(f"can't be read: {error.strerror}", where=path) from error
    if not stat.S_ISREG(mode):
        raise DataError("is not a regular file", where=path, remedy="remove it, or give it another suffix")


def _key(folder: Folder, section: ImageFolder) -> str:
    need("PIL", "images", "a folder of images")
    import PIL  # noqa: PLC0415 - only for image folders

    return cache.key(folder.files, section.name, section.image_size, section.fit, PIL.__version__)


def _arrays(folder: Folder, section: ImageFolder) -> Arrays:
    return cache.arrays(_key(folder, section), lambda: _decoded(folder, section))


def _decoded(folder: Folder, section: ImageFolder) -> Arrays:
    """Every image; `DataError` names the first of those that can't be read."""
    with ThreadPoolExecutor() as threads:  # Pillow lets other threads run while it decodes
        results = list(threads.map(partial(_attempt, section=section), folder.files))
    broken = [
        f"{path}: {result}"
        for path, result in zip(folder.files, results, strict=True)
        if isinstance(result, str)
    ]
    if broken:
        shown = [*broken[:_SHOWN], *([f"and {len(broken) - _SHOWN} more"] if len(broken) > _SHOWN else [])]
        problem = f"{len(broken)} of {len(results)} images can't be read:\n    " + "\n    ".join(shown)
        raise DataError(problem, where=section.path, remedy="repair or delete them")
    images = [result for result in results if not isinstance(result, str)]
    _same_size(images, folder.files)
    split = len(folder.train)
    train, test = (np.stack(part).transpose(0, 3, 1, 2).copy() for part in (images[:split], images[split:]))
    labels = [np.array([label for _, label in part], dtype=np.int64) for part in (folder.train, folder.test)]
    return Arrays(train, labels[0], test, labels[1])


def _same_size(images: Sequence[NDArray[np.uint8]], files: Sequence[Path]) -> None:
    for path, image in zip(files, images, strict=True):
        if image.shape != images[0].shape:
            (height, width), (first_height, first_width) = image.shape[:2], images[0].shape[:2]
            problem = f"is {width}x{height}, but {files[0]} is {first_width}x{first_height}"
            raise DataError(problem, where=path, remedy="data.image_size gives all images one size")


def _attempt(path: Path, section: ImageFolder) -> NDArray[np.uint8] | str:
    """An image as uint8 [H, W, 3], or why there is none."""
    return read_image(path, section.image_size, section.fit)


def read_image(path: Path, size: int | None, fit: str | None, mode: str = "RGB") -> NDArray[np.uint8] | str:
    """An image file as uint8 [H, W, 3], in mode `L` as [H, W], or why there is none.

    Args:
        path: of a PNG or JPEG file.
        size, fit: see the top of this module.
        mode: `RGB`, or `L` for grey.

    """
    need("PIL", "images", "an image file")
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - only for image folders

    try:
        with path.open("rb") as file, Image.open(file, formats=("PNG", "JPEG")) as image:
            if image.width * image.height > _LARGEST:
                return f"has {image.width}x{image.height} pixels: a decompression bomb?"
            return np.asarray(_fitted(image.convert(mode), size, fit))
    except UnidentifiedImageError:
        return "is neither PNG nor JPEG"
    except Exception as error:  # noqa: BLE001 - whatever a decoder says of it, the file is named
        return str(error) or type(error).__name__


def _fitted(image: "Image.Image", size: int | None, fit: str | None) -> "Image.Image":
    from PIL import Image  # noqa: PLC0415 - only for image folders

    if size is None:
        return image
    if fit != "center_crop":
        return image.resize((size, size), Image.Resampling.BILINEAR)
    shorter, longer = min(image.size), max(image.size)
    # As torchvision rounds: the larger side down, the place of the cut to the nearest, halves to even.
    scaled = int(size * longer / shorter)
    width, height = (size, scaled) if image.width <= image.height else (scaled, size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + size, top + size))
