"""One split as batches of MindSpore tensors."""

from collections.abc import Iterator

import numpy as np
from mindspore import Tensor
from numpy.typing import NDArray

from xtrain.data.batches import assemble, gather, normalised, prefetch, worth_keeping
from xtrain.spec import Draws, Split

Batch = tuple[Tensor, Tensor]


class MindSporeDataset:
    """Gathered in NumPy from images normalised once, where nothing random happens to them.

    Else batches are assembled on a thread; on the CPU tensors share their memory.
    """

    def __init__(self, split: Split) -> None:
        self._split = split
        self._kept: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        """How many samples it has."""
        return len(self._split.labels)

    def batches(self, draws: Draws) -> Iterator[Batch]:
        """Images float32 [B, C, H, W] and labels int64 [B]; a device takes them over with the step."""
        if self._kept is None and worth_keeping(self._split, draws):
            self._kept = normalised(self._split)
        pairs = prefetch(assemble(self._split, draws)) if self._kept is None else gather(self._kept, draws)
        for images, labels in pairs:
            yield Tensor.from_numpy(images), Tensor.from_numpy(labels)

    def read(self, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The same as arrays."""
        images, labels = batch
        return images.asnumpy(), labels.asnumpy()
