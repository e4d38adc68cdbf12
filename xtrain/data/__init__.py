"""Data sets by name, one's own data, and the batches made from them. Importing this loads nothing heavy."""

from xtrain.data.base import DATASETS, AbsolutePath, Arrays, Dataset, DatasetInfo
from xtrain.data.registry import info, load, names, own, selectable

__all__ = [
    "DATASETS",
    "AbsolutePath",
    "Arrays",
    "Dataset",
    "DatasetInfo",
    "info",
    "load",
    "names",
    "own",
    "selectable",
]
