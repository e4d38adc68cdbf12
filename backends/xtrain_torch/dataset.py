"""One split as batches of torch tensors."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xtrain.data.batches import assemble, normalised, prefetch, worth_keeping
from xtrain.spec import Draws, Split

Batch = tuple[Tensor, Tensor]


class TorchDataset:
    """Gathered on the device from images normalised once, where nothing random happens to them.

    Else batches are assembled in NumPy on a thread; on the CPU tensors share their memory.
    """

    def __init__(self, split: Split, device: str) -> None:
        self._split, self._device = split, device
        self._kept: Batch | None = None

    def __len__(self) -> int:
        """How many samples it has."""
        return len(self._split.labels)

    def batches(self, draws: Draws) -> Iterator[Batch]:
        """Images float32 [B, C, H, W] and labels int64 [B], on the device."""
        if self._kept is None and worth_keeping(self._split, draws):
            self._kept = self._give(normalised(self._split))
        return prefetch(self._assembled(draws)) if self._kept is None else self._gathered(*self._kept, draws)

    def read(self, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The same as arrays."""
        images, labels = batch
        return images.cpu().numpy(), labels.cpu().numpy()

    def _assembled(self, draws: Draws) -> Iterator[Batch]:
        for pair in assemble(self._split, draws):
            yield self._give(pair)

    def _gathered(self, images: Tensor, labels: Tensor, draws: Draws) -> Iterator[Batch]:
        for indices in draws.batches:
            places = torch.from_numpy(indices).to(self._device)
            yield images.index_select(0, places), labels.index_select(0, places)

    def _give(self, pair: tuple[NDArray[np.float32], NDArray[np.int64]]) -> Batch:
        images, labels = (torch.from_numpy(array).to(self._device) for array in pair)
        return images, labels
