"""Data sets by name: a new one of ours is a module with a frozen class, and a place in the lists below."""

from pathlib import Path

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
from xtrain.spec.parts import tags

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
    found = _chosen(chosen).info()
    if not isinstance(found, DatasetInfo):
        raise DataError(f"its info() gives {type(found).__name__}, not DatasetInfo", where=_name(chosen))
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
    arrays = _chosen(chosen).load(data_dir)
    for split in ("train", "test"):
        if problem := _problem(arrays, split):
            raise DataError(f"its {split} split {problem}", where=_name(chosen))
    return arrays


def _problem(arrays: Arrays, split: str) -> str:
    """What is wrong with the arrays of a split; empty where nothing is."""
    images, labels = (getattr(arrays, f"{split}_{part}", None) for part in ("images", "labels"))
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4:
        return "has no images of uint8 [N, channels, height, width]"
    if not isinstance(labels, np.ndarray) or labels.dtype != np.int64 or labels.shape != images.shape[:1]:
        return f"has no labels of int64 [N], one for each of its {len(images)} images"
    return ""


def _name(chosen: Dataset | str) -> str:
    return chosen if isinstance(chosen, str) else chosen.name


def _chosen(chosen: Dataset | str) -> Dataset:
    if not isinstance(chosen, str):
        return chosen
    kind = DATASETS.find(chosen)
    if kind is None:
        raise UsageError(f"there is no data set {chosen!r}", remedy=suggest(chosen, DATASETS.names()))
    try:
        return kind()
    except ValueError:
        raise UsageError(f"{chosen!r} is named without the keys that say which one is meant") from None
