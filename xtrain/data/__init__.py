"""Data sets by name, and the batches made from them. Importing this loads NumPy and nothing heavier."""

from xtrain.data.base import Arrays, DatasetInfo
from xtrain.data.registry import info, load, names

__all__ = ["Arrays", "DatasetInfo", "info", "load", "names"]
