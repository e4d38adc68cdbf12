"""What the files of this package share: types, numbers from words, a fill by channel, work in pieces."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Words = NDArray[np.uint64]

_PIECE = 1 << 17  # pixel values: intermediate results of so many stay in a core's own cache


def fractions(words: Words) -> NDArray[np.float64]:
    """Uniform numbers from 0 to below 1, of the words' upper 53 bits."""
    numbers: NDArray[np.float64] = (words >> np.uint64(11)) * 2.0**-53
    return numbers


def uniform(words: Words, low: float, high: float) -> NDArray[np.float64]:
    """Uniform numbers between `low` and `high`."""
    return low + fractions(words) * (high - low)


def integers(words: Words, limits: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Integers from 0 to below each limit: a word's remainder, whose bias of limit / 2**64 nobody can see."""
    return (words % np.asarray(limits, dtype=np.uint64)).astype(np.int64)


def by_channel(values: int | tuple[int, ...]) -> Pixels:
    """A fill as uint8 [1 or C, 1, 1]."""
    return np.atleast_1d(np.array(values, dtype=np.uint8))[:, None, None]


def by_pieces(work: Callable[[Pixels, Words], Pixels], pixels: Pixels, words: Words) -> Pixels:
    """What `work` makes of the images, some at a time: with floats that is up to three times as fast."""
    size = max(1, _PIECE // (pixels[0].size or 1))
    if len(pixels) <= size:
        return work(pixels, words)
    starts = range(0, len(pixels), size)
    return np.concatenate([work(pixels[i : i + size], words[i : i + size]) for i in starts])
