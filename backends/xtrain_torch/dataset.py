"""One split as batches of torch tensors."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xtrain.data.batches import AT_ONCE, augmented, prefetch
from xtrain.spec import DatasetBase, Draws, Split
from xtrain_torch import augment

Batch = tuple[Tensor, Tensor]


class TorchDataset(DatasetBase):
    """The split's pixels on the device, where batches are gathered and normalised.

    On a GPU they are cropped and flipped there too. What else is augmented comes from NumPy, on a thread, and
    on the CPU all that is, which has a core for it.
    """

    def __init__(self, split: Split, device: str) -> None:
        super().__init__(split, device)
        self._images, self._labels = self._tensor(split.images), self._tensor(split.labels)
        self._mean, self._std = self._tensor(split.mean), self._tensor(split.std)
        self._white = torch.tensor(255.0, device=device)  # by a number, a GPU multiplies with its inverse
        self._all_here = device != "cpu" and all(isinstance(step, augment.HERE) for step in split.augment)

    def batches(self, draws: Draws) -> Iterator[Batch]:
        """Images float32 [B, C, H, W] and labels int64 [B], on the device."""
        if not self._split.augment:
            return self._gathered(draws)
        return self._augmented_here(draws) if self._all_here else self._augmented(draws)

    def read(self, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The same as arrays."""
        images, labels = batch
        return images.cpu().numpy(), labels.cpu().numpy()

    def _gathered(self, draws: Draws) -> Iterator[Batch]:
        # Several batches at once where they are small: of one, the calls take longer than what they do.
        largest = math.prod(self._images.shape[1:]) * max(map(len, draws.batches), default=1)
        together = max(1, AT_ONCE // largest)
        for start in range(0, len(draws.batches), together):
            some = draws.batches[start : start + together]
            places, sizes = self._tensor(np.concatenate(some)), [len(indices) for indices in some]
            images = self._normalised(self._images.index_select(0, places))
            labels = self._labels.index_select(0, places)
            yield from zip(torch.split(images, sizes), torch.split(labels, sizes), strict=True)

    def _augmented(self, draws: Draws) -> Iterator[Batch]:
        for pixels, indices in zip(prefetch(augmented(self._split, draws)), draws.batches, strict=True):
            yield self._normalised(self._tensor(pixels)), self._labels.index_select(0, self._tensor(indices))

    def _augmented_here(self, draws: Draws) -> Iterator[Batch]:
        for indices in draws.batches:
            places = self._tensor(indices)
            pixels = self._images.index_select(0, places)
            for step, words in zip(self._split.augment, draws.augment, strict=True):  # all of them draw
                pixels = augment.apply(step, pixels, words[indices])
            yield self._normalised(pixels), self._labels.index_select(0, places)

    def _normalised(self, pixels: Tensor) -> Tensor:
        return pixels.to(torch.float32).div_(self._white).sub_(self._mean).div_(self._std)

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self._device)
