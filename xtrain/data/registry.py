"""The data sets there are: a new one is a module with `INFO` and `load`, and a place in the list below.

What depends on more of a recipe than its name is a module with `describe` and `read`: SVHN, with or without
its extra images, and one's own data.
"""

from pathlib import Path
from typing import Protocol

from xtrain.data import cifar10, cifar100, digits, fashion_mnist, image_folder, mnist, own_arrays, svhn
from xtrain.data.base import Arrays, DatasetInfo, Named, Section
from xtrain.errors import UsageError, suggest


class Published(Protocol):
    """What a data set's module has."""

    INFO: DatasetInfo

    def load(self, data_dir: Path | None) -> Arrays:
        """Read both splits, from files below `data_dir` where they are there."""


class Described(Protocol):
    """What the module of a data set has that depends on a recipe's section."""

    def describe(self, section: Section) -> DatasetInfo:
        """What is known of it."""

    def read(self, section: Section, data_dir: Path | None) -> Arrays:
        """Read both splits."""


_MODULES: tuple[Published, ...] = (digits, mnist, fashion_mnist, cifar10, cifar100)
_PUBLISHED = {module.INFO.name: module for module in _MODULES}
_DESCRIBED: dict[str, Described] = {
    svhn.INFO.name: svhn,
    "image_folder": image_folder,
    "npz": own_arrays,
    "npy": own_arrays,
}
OWN = ("image_folder", "npz", "npy")
"""Kinds of one's own data; a recipe names one as `data.name`, and where it lies as `data.path`."""


def names() -> list[str]:
    """Every published data set's name, the smallest data set first."""
    return [name for name in (*_PUBLISHED, *_DESCRIBED) if name not in OWN]


def info(section: Section | str) -> DatasetInfo:
    """What is known of a data set, given by its name or by a recipe's section.

    A published one is not loaded for it. One's own is, but what it says of itself is kept in the user's cache
    directory until a file changes.

    Raises:
        UsageError: no data set has that name.
        DataError: one's own data is missing or malformed.

    """
    chosen = _chosen(section)
    if chosen.name in _PUBLISHED:
        return _PUBLISHED[chosen.name].INFO
    return _DESCRIBED[chosen.name].describe(chosen)


def load(section: Section | str, data_dir: Path | None = None) -> Arrays:
    """Read a data set, downloading a published one where it is not found.

    Its files are looked for below `data_dir`, then `$XTRAIN_DATA`, then the user's cache directory; see
    `xtrain.data.files`. Every published file's hash is checked on every load.

    Raises:
        UsageError: no data set has that name.
        DataError: a file is missing and can't be downloaded, is not the published one, or is malformed.

    """
    chosen = _chosen(section)
    if chosen.name in _PUBLISHED:
        return _PUBLISHED[chosen.name].load(data_dir)
    return _DESCRIBED[chosen.name].read(chosen, data_dir)


def _chosen(section: Section | str) -> Section:
    chosen = Named(section) if isinstance(section, str) else section
    if chosen.name not in (*_PUBLISHED, *_DESCRIBED):
        remedy = suggest(chosen.name, [*names(), *OWN])
        raise UsageError(f"there is no data set {chosen.name!r}", remedy=remedy)
    return chosen
