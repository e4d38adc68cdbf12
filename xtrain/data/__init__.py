"""Data sets by name, one's own data, and the batches made from them. Importing this loads nothing heavy."""

from xtrain.data.base import Arrays, DatasetInfo, Section
from xtrain.data.registry import OWN, info, load, names

__all__ = ["OWN", "Arrays", "DatasetInfo", "Section", "info", "load", "names"]
