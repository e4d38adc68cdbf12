"""One split as batches of JAX arrays."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax import Array
from numpy.typing import NDArray

from xtrain.data.batches import ahead
from xtrain.spec import DatasetBase, Draws

Batch = tuple[Array, Array]


class JaxDataset(DatasetBase):
    """Batches made by NumPy on a thread, ahead of their use.

    On a CPU they stay where NumPy made them, which a compiled step takes as they are: they are fresh, so
    nobody else writes to them.
    """

    _device: Any

    def batches(self, draws: Draws) -> Iterator[Batch]:
        """Images float32 [B, C, H, W] and labels int32 [B]: JAX has no int64 unless all of it has."""
        for images, labels in ahead(self._split, draws):
            batch: Any = images, labels.astype(np.int32)
            yield batch if self._device.platform == "cpu" else jax.device_put(batch, self._device)

    def read(self, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The same as arrays."""
        return np.array(batch[0]), np.array(batch[1], dtype=np.int64)
