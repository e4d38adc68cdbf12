"""One split as batches of arrays."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from xtrain.data.batches import assemble, prefetch
from xtrain.spec import Draws, Split

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]


class NumpyDataset:
    """Batches made on a thread, ahead of their use."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def __len__(self) -> int:
        """How many samples it has."""
        return len(self._split.labels)

    def batches(self, draws: Draws) -> Iterator[Batch]:
        """Images float32 [B, C, H, W] and labels int64 [B]."""
        return prefetch(assemble(self._split, draws))

    def read(self, batch: Batch) -> Batch:
        """The same."""
        return batch
