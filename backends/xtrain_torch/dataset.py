"""One split as batches of torch tensors."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xtrain.data.batches import assemble, prefetch
from xtrain.spec import Draws, Split

Batch = tuple[Tensor, Tensor]


class TorchDataset:
    """Batches are assembled in NumPy on a thread; on the CPU tensors share their memory."""

    def __init__(self, split: Split, device: str) -> None:
        self._split, self._device = split, device

    def __len__(self) -> int:
        """How many samples it has."""
        return len(self._split.labels)

    def batches(self, draws: Draws) -> Iterator[Batch]:
        """Images float32 [B, C, H, W] and labels int64 [B], on the device."""
        return prefetch(self._batches(draws))

    def read(self, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The same as arrays."""
        images, labels = batch
        return images.cpu().numpy(), labels.cpu().numpy()

    def _batches(self, draws: Draws) -> Iterator[Batch]:
        for images, labels in assemble(self._split, draws):
            yield torch.from_numpy(images).to(self._device), torch.from_numpy(labels).to(self._device)
