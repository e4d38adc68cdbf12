"""One split as batches of MindSpore tensors."""

from collections.abc import Iterator

import numpy as np
from mindspore import Tensor
from numpy.typing import NDArray

from xtrain.data.batches import ahead
from xtrain.spec import DatasetBase, Draws

Batch = tuple[Tensor, Tensor]


class MindSporeDataset(DatasetBase):
    """Batches made in NumPy on a thread, ahead of their use; on the CPU tensors share their memory."""

    def batches(self, draws: Draws) -> Iterator[Batch]:
        """Images float32 [B, C, H, W] and labels int64 [B]; a device takes them over with the step."""
        for images, labels in ahead(self._split, draws):
            yield Tensor.from_numpy(images), Tensor.from_numpy(labels)

    def read(self, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The same as arrays."""
        images, labels = batch
        return images.asnumpy(), labels.asnumpy()
