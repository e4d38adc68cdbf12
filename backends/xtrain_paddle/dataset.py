"""One split as batches of Paddle tensors."""

from collections.abc import Iterator

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor

from xtrain.data.batches import ahead
from xtrain.spec import DatasetBase, Draws

Batch = tuple[Tensor, Tensor]


class PaddleDataset(DatasetBase):
    """NumPy makes batches on a thread, ahead of their use; on the CPU tensors share their memory."""

    def batches(self, draws: Draws) -> Iterator[Batch]:
        """Images float32 [B, C, H, W] and labels int64 [B], on the device."""
        # Tensors are made on the caller's thread: Paddle crashes where two threads use it.
        for images, labels in ahead(self._split, draws):
            yield self._tensor(images), self._tensor(labels)

    def read(self, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The same as arrays."""
        images, labels = batch
        return images.numpy(), labels.numpy()

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        if self._device == "cpu":
            # to_tensor would copy. The type hints ask for what only NumPy 2 has; it works without.
            return paddle.from_dlpack(array)  # type: ignore[arg-type]
        return paddle.to_tensor(array, place=self._device)
