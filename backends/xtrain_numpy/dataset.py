"""One split as batches of arrays."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from xtrain.data.batches import assemble, gather, normalised, prefetch, worth_keeping
from xtrain.spec import Draws, Split

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]


class NumpyDataset:
    """Gathered from images normalised once, where nothing random happens to them, else made on a thread."""

    def __init__(self, split: Split) -> None:
        self._split = split
        self._kept: Batch | None = None

    def __len__(self) -> int:
        """How many samples it has."""
        return len(self._split.labels)

    def batches(self, draws: Draws) -> Iterator[Batch]:
        """Images float32 [B, C, H, W] and labels int64 [B]."""
        if self._kept is None and worth_keeping(self._split, draws):
            self._kept = normalised(self._split)
        return prefetch(assemble(self._split, draws)) if self._kept is None else gather(self._kept, draws)

    def read(self, batch: Batch) -> Batch:
        """The same."""
        return batch
