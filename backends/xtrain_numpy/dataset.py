"""One split as batches of arrays."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from xtrain.data.batches import ahead
from xtrain.spec import DatasetBase, Draws

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]


class NumpyDataset(DatasetBase):
    """Batches made on a thread, ahead of their use."""

    def batches(self, draws: Draws) -> Iterator[Batch]:
        """Images float32 [B, C, H, W] and labels int64 [B]."""
        return ahead(self._split, draws)

    def read(self, batch: Batch) -> Batch:
        """The same."""
        return batch
