"""The data sets there are: a new one is a module with `INFO` and `load`, and a place in the list below."""

from pathlib import Path
from typing import Protocol

from xtrain.data import cifar10, cifar100, digits, fashion_mnist, mnist
from xtrain.data.base import Arrays, DatasetInfo
from xtrain.errors import UsageError, suggest


class Dataset(Protocol):
    """What a data set's module has."""

    INFO: DatasetInfo

    def load(self, data_dir: Path | None) -> Arrays:
        """Read both splits, from files below `data_dir` where they are there."""


_MODULES: tuple[Dataset, ...] = (digits, mnist, fashion_mnist, cifar10, cifar100)
_DATASETS = {module.INFO.name: module for module in _MODULES}


def names() -> list[str]:
    """Every data set's name, the smallest data set first."""
    return list(_DATASETS)


def info(name: str) -> DatasetInfo:
    """What is known of a data set, without loading it; `UsageError` where there is none of that name."""
    return _find(name).INFO


def load(name: str, data_dir: Path | None = None) -> Arrays:
    """Read a data set, downloading it where it is not found.

    Its files are looked for below `data_dir`, then `$XTRAIN_DATA`, then the user's cache directory; see
    `xtrain.data.files`. Every file's hash is checked on every load.

    Raises:
        UsageError: no data set has that name.
        DataError: a file is missing and can't be downloaded, or is not the published one.

    """
    return _find(name).load(data_dir)


def _find(name: str) -> Dataset:
    if name in _DATASETS:
        return _DATASETS[name]
    raise UsageError(f"there is no data set {name!r}", remedy=suggest(name, _DATASETS))
