"""One split as batches of Paddle tensors."""

from collections.abc import Iterator

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor

from xtrain.data.batches import assemble, normalised, prefetch, worth_keeping
from xtrain.spec import Draws, Split

Batch = tuple[Tensor, Tensor]


class PaddleDataset:
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
        return self._assembled(draws) if self._kept is None else self._gathered(*self._kept, draws)

    def read(self, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The same as arrays."""
        images, labels = batch
        return images.numpy(), labels.numpy()

    def _assembled(self, draws: Draws) -> Iterator[Batch]:
        # Tensors are made on the caller's thread: Paddle does not stand two threads at work.
        for pair in prefetch(assemble(self._split, draws)):
            yield self._give(pair)

    def _gathered(self, images: Tensor, labels: Tensor, draws: Draws) -> Iterator[Batch]:
        for indices in draws.batches:
            places = paddle.to_tensor(indices, place=self._device)
            yield paddle.gather(images, places), paddle.gather(labels, places)

    def _give(self, pair: tuple[NDArray[np.float32], NDArray[np.int64]]) -> Batch:
        images, labels = pair
        return self._tensor(images), self._tensor(labels)

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        if self._device == "cpu":
            # to_tensor would copy. (Paddle expects of __dlpack__ what only NumPy 2 has; it does without.)
            return paddle.from_dlpack(array)  # type: ignore[arg-type]
        return paddle.to_tensor(array, place=self._device)
