"""Data sets by name: a new one of ours is a module with a frozen class, and a place in the lists below."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from xtrain.data.base import DATASETS, Arrays, Dataset, DatasetInfo
from xtrain.data.cifar10 import CIFAR10
from xtrain.data.cifar100 import CIFAR100
from xtrain.data.digits import Digits
from xtrain.data.fashion_mnist import FashionMNIST
from xtrain.data.image_folder import ImageFolder
from xtrain.data.mnist import MNIST
from xtrain.data.own_arrays import Npy, Npz
from xtrain.data.svhn import SVHN
from xtrain.errors import DataError, UsageError, suggest
from xtrain.spec.parts import OwnCode, package_of, tags

_PUBLISHED = (Digits, MNIST, FashionMNIST, CIFAR10, CIFAR100, SVHN)
_OWN = (ImageFolder, Npz, Npy)

for _kind in (*_PUBLISHED, *_OWN):
    DATASETS.register(_kind)


def names() -> list[str]:
    """Every published data set's name, the smallest data set first."""
    return [name for kind in _PUBLISHED for name in tags(kind)]


def selectable() -> list[str]:
    """Every name that stands for a data set alone: published ones, and those of other packages."""
    return [*names(), *DATASETS.offered()]


def own() -> list[str]:
    """Names of the kinds of one's own data, each of which takes a `path`."""
    return [name for kind in _OWN for name in tags(kind)]


def info(chosen: Dataset | str) -> DatasetInfo:
    """What is known of a data set, given by its name or as a recipe's value.

    A published one is not loaded for it. One's own is, but what it says of itself is kept in the user's cache
    directory until a file changes.

    Raises:
        UsageError: no data set has that name, or the name alone does not say which one is meant.
        DataError: one's own data is missing or malformed.

    """
    dataset = _chosen(chosen)
    with OwnCode("whose info() fails", dataset):
        found = dataset.info()
    if not isinstance(found, DatasetInfo):
        raise DataError(f"its info() gives {type(found).__name__}, not DatasetInfo", where=_where(dataset))
    return found


def load(chosen: Dataset | str, data_dir: Path | None = None) -> Arrays:
    """Read a data set, downloading a published one where it is not found.

    Its files are looked for below `data_dir`, then `$XTRAIN_DATA`, then the user's cache directory; see
    `xtrain.data.files`. Every published file's hash is checked on every load.

    Raises:
        UsageError: no data set has that name.
        DataError: a file is missing and can't be downloaded, is not the published one, or is malformed; or a
            data set of another package gives other arrays than it should.

    """
    dataset = _chosen(chosen)
    with OwnCode("whose load() fails", dataset):
        arrays = dataset.load(data_dir)
    about = None if type(dataset) in DATASETS.own.values() else info(dataset)
    for split in ("train", "test"):
        if problem := _malformed(arrays, split) or (_unlike(arrays, split, about) if about else ""):
            raise DataError(f"its {split} split {problem}", where=_where(dataset))
    if about is None:  # ours are checked where they are read, and made as they should be
        return arrays
    given: dict[str, Any] = {field.name: getattr(arrays, field.name) for field in fields(Arrays)}
    return Arrays(**{name: np.require(array, None, ["C", "W"]) for name, array in given.items()})


def _malformed(arrays: Arrays, split: str) -> str:
    """What is wrong with the arrays of a split; empty where nothing is."""
    images, labels = (getattr(arrays, f"{split}_{part}", None) for part in ("images", "labels"))
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4:
        return "has no images of uint8 [N, channels, height, width]"
    if not isinstance(labels, np.ndarray) or labels.dtype != np.int64 or labels.shape != images.shape[:1]:
        return f"has no labels of int64 [N], one for each of its {len(images)} images"
    return ""


def _unlike(arrays: Arrays, split: str, about: DatasetInfo) -> str:
    """In what the arrays of a split are not those that info() tells of; empty where they are."""
    images, labels = (getattr(arrays, f"{split}_{part}") for part in ("images", "labels"))
    if not images.size:
        return f"has no images: their shape is {images.shape}"
    if images.shape != (wanted := (getattr(about, split), *about.input_shape)):
        return f"has images of shape {images.shape}, its info() says {wanted}"
    if labels.min() < 0 or labels.max() >= about.classes:
        return f"has labels from {labels.min()} to {labels.max()}, its info() says 0 to {about.classes - 1}"
    return ""


def _where(dataset: Dataset) -> str:
    package = package_of(dataset)
    return f"{dataset.name} of {package}" if package else dataset.name


def _chosen(chosen: Dataset | str) -> Dataset:
    if not isinstance(chosen, str):
        return chosen
    kind = DATASETS.find(chosen)
    if kind is None:
        raise UsageError(f"there is no data set {chosen!r}", remedy=suggest(chosen, DATASETS.names()))
    try:
        with OwnCode("which can't be made", kind, passing=ValueError):
            return kind()
    except ValueError:
        raise UsageError(f"{chosen!r} is named without the keys that say which one is meant") from None
