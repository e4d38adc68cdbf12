"""One split as batches of JAX arrays."""

from collections.abc import Iterator

import jax
import numpy as np
from jax import Array
from numpy.typing import NDArray

from xtrain.data.batches import assemble, prefetch
from xtrain.spec import DatasetBase, Draws, Split
from xtrain_jax.modules import device_of

Batch = tuple[Array, Array]


class JaxDataset(DatasetBase):
    """Batches made by NumPy on a thread, ahead of their use, and put on the device there."""

    def __init__(self, split: Split, device: str) -> None:
        super().__init__(split, device)
        self._where = device_of(device)

    def batches(self, draws: Draws) -> Iterator[Batch]:
        """Images float32 [B, C, H, W] and labels int32 [B]: JAX has no int64 unless all of it has."""
        return prefetch(self._placed(draws))

    def read(self, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The same as arrays."""
        images, labels = batch
        return np.array(images), np.array(labels, dtype=np.int64)

    def _placed(self, draws: Draws) -> Iterator[Batch]:
        # On a CPU a batch stays where NumPy made it: the arrays are fresh, so nobody else writes to them.
        for images, labels in assemble(self._split, draws):
            yield jax.device_put((images, labels.astype(np.int32)), self._where)
