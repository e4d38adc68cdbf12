"""Dropout masks as an integer hash that NumPy and every device compute alike.

Element i of a layer's output (counted over the whole batch, row-major) is kept when
`mix(mix(i) ^ key) >> 8 >= round(p * 2**24)`, all in 32-bit unsigned arithmetic. `mix(i)` does not depend
on the step. The mixer is 'lowbias32' of C. Wellons' hash-prospector (public domain).
"""

import numpy as np
from numpy.typing import NDArray

MULTIPLIERS = (0x7FEB352D, 0x846CA68B)
SHIFTS = (16, 15, 16)


def mix(x: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Scramble 32-bit integers; a bijection."""
    x = x ^ (x >> np.uint32(SHIFTS[0]))
    x = x * np.uint32(MULTIPLIERS[0])
    x = x ^ (x >> np.uint32(SHIFTS[1]))
    x = x * np.uint32(MULTIPLIERS[1])
    return x ^ (x >> np.uint32(SHIFTS[2]))


def threshold(p: float) -> int:
    """The smallest 24-bit value that is kept at drop probability `p`."""
    return round(p * 2**24)


def keep_mask(key: int, p: float, shape: tuple[int, ...], first_row: int = 0) -> NDArray[np.bool_]:
    """True where an element is kept; `shape` has the batch axis first.

    `first_row` is the place of row 0 in the whole batch, where a step takes several.
    """
    rows, features = shape[0], int(np.prod(shape[1:], dtype=np.int64))
    start = first_row * features
    elements = np.arange(start, start + rows * features, dtype=np.int64).astype(np.uint32)
    hashed = mix(mix(elements) ^ np.uint32(key))
    return ((hashed >> np.uint32(8)) >= threshold(p)).reshape(shape)
