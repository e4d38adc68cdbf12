"""Batches in NumPy: gather, augment and normalise whole batches, ahead of their use.

Every backend makes its batches here (or with operations that give the same bits), so batches are equal
to the bit under all of them.
"""

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from xtrain.data.augment import apply
from xtrain.spec import Draws, Split

T = TypeVar("T")
Pair = tuple[NDArray[np.float32], NDArray[np.int64]]

_MOST_KEPT = 1 << 30  # bytes of a split
_CHUNK = 256  # samples, which stay in the cache
_ALIGNMENT = 64  # a cache line; vector kernels round differently on unaligned buffers


def normalization_table(mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """float32 [C, 256]: `(v / 255 - mean) / std`, each operation rounded to float32 as torchvision does."""
    pixels = np.arange(256, dtype=np.float32) / np.float32(255)
    columns = (np.asarray(values, dtype=np.float32)[:, None] for values in (mean, std))
    mean_column, std_column = columns
    table: NDArray[np.float32] = (pixels[None, :] - mean_column) / std_column
    return table


def empty(shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[np.generic]:
    """An uninitialised array whose data starts on a 64-byte boundary."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    raw = np.empty(size + _ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)


def worth_keeping(split: Split, draws: Draws) -> bool:
    """Whether a pass is quicker from images that were normalised once and kept, at four times the memory.

    Not where something random happens to them, nor for a pass over a small part of them.
    """
    if any(step.words for step in split.augment) or 2 * sum(map(len, draws.batches)) < len(split.labels):
        return False
    [(image, _)] = assemble(split, Draws(batches=(np.arange(1),)))
    return len(split.labels) * image.nbytes <= _MOST_KEPT


def normalised(split: Split) -> Pair:
    """All of a split, float32 [N, C, H, W] and int64 [N], as `assemble` gives its batches."""
    places = np.arange(len(split.labels))
    chunks = tuple(np.array_split(places, -(-len(places) // _CHUNK)))
    start, whole = 0, None
    for images, _ in assemble(split, Draws(batches=chunks)):
        whole = empty((len(places), *images.shape[1:]), np.float32) if whole is None else whole
        whole[start : start + len(images)] = images
        start += len(images)
    return whole, split.labels  # type: ignore[return-value]  # empty() can't say its dtype


def gather(kept: Pair, draws: Draws) -> Iterator[Pair]:
    """Batches of images that are kept normalised, in fresh aligned arrays."""
    images, labels = kept
    for indices in draws.batches:
        batch = empty((len(indices), *images.shape[1:]), np.float32)
        np.take(images, indices, axis=0, out=batch, mode="clip")
        yield batch, labels[indices]  # type: ignore[misc]  # empty() can't say its dtype


def assemble(split: Split, draws: Draws) -> Iterator[Pair]:
    """Images float32 [B, C, H, W] and labels int64 [B] of each batch, normalised, in fresh aligned arrays."""
    for indices, pixels in zip(draws.batches, augmented(split, draws), strict=True):
        images = empty(pixels.shape, np.float32)
        for channel, values in enumerate(split.table):
            # A pixel always has its entry: "clip" only spares the check, a third of the time of indexing.
            images[:, channel] = values.take(pixels[:, channel], mode="clip")
        labels = empty(indices.shape, np.int64)
        labels[:] = split.labels[indices]
        yield images, labels  # type: ignore[misc]  # empty() can't say its dtype


def augmented(split: Split, draws: Draws) -> Iterator[NDArray[np.uint8]]:
    """Pixels uint8 [B, C, H, W] of each batch, augmented and not normalised."""
    random = [place for place, step in enumerate(split.augment) if step.words]
    drawn = dict(zip(random, draws.augment, strict=True))
    none = np.empty((len(split.images), 0), dtype=np.uint64)
    for indices in draws.batches:
        pixels = split.images[indices]
        for place, step in enumerate(split.augment):
            pixels = apply(step, pixels, drawn.get(place, none)[indices])
        yield pixels


def prefetch(source: Iterator[T], depth: int = 2) -> Iterator[T]:
    """Run an iterator on a thread, some `depth` items ahead; its errors are raised here.

    Leaving early (a break, an exception, Ctrl-C) stops the thread.
    """
    ready: queue.Queue[tuple[bool, T | BaseException | None]] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(more: bool, item: T | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                ready.put((more, item), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in source:
                if not put(True, item):
                    return
        except BaseException as error:  # noqa: BLE001 - handed over to the consumer, who raises it
            put(False, error)
        else:
            put(False, None)

    thread = threading.Thread(target=work, name="xtrain-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            more, item = ready.get()
            if not more:
                if isinstance(item, BaseException):
                    raise item
                return
            yield item  # type: ignore[misc]  # an item of T where `more` is true
    finally:
        stopped.set()
        with suppress(queue.Empty):
            ready.get_nowait()  # a thread that waits for a place has it, and sees that it is to stop
        thread.join()
