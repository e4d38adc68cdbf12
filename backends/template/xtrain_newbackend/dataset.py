"""One split as batches of the framework's tensors."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xtrain.spec import DatasetBase, Draws, Split

from xtrain_newbackend.unwritten import unwritten


class NewBackendDataset(DatasetBase):
    """Batches are assembled on a thread, ahead of their use, and put on the device."""

    def __init__(self, split: Split, device: str) -> None:
        super().__init__(split, device)
        raise unwritten("dataset.py")

    def batches(self, draws: Draws) -> Iterator[Any]:
        """Images [B, C, H, W] and labels [B] on the device.

        `ahead(self._split, draws)` of `xtrain.data.batches` gives them as NumPy arrays.
        """
        raise unwritten("Dataset.batches")

    def read(self, batch: Any) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Images and labels of a batch, as NumPy arrays, to the bit as they are on the device."""
        raise unwritten("Dataset.read")
