"""Crops and flips: pixels change place, none changes its value."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from xtrain.data.augment.drawn import Pixels, Words, integers
from xtrain.spec import CenterCrop, RandomCrop, RandomHorizontalFlip


def crop_offsets(step: RandomCrop, shape: tuple[int, int], words: Words) -> tuple[NDArray[np.int64], ...]:
    """Top and left of each cut within the padded image of (height, width) `shape`."""
    tops, lefts = (
        integers(words[:, axis], size + 2 * step.padding - step.size + 1) for axis, size in enumerate(shape)
    )
    return tops, lefts


def flipped(step: RandomHorizontalFlip, words: Words) -> NDArray[np.bool_]:
    """True for each image that is mirrored."""
    return (words[:, 0] >> np.uint64(11)) < np.uint64(round(step.p * 2**53))


def random_crop(step: RandomCrop, pixels: Pixels, words: Words) -> Pixels:
    """Squares [B, C, size, size] out of the zero-padded images, each from its own place."""
    pad = step.padding
    padded = padded_with_zeros(pixels, (pad, pad), (pad, pad))
    tops, lefts = crop_offsets(step, (pixels.shape[2], pixels.shape[3]), words)
    # A view [B, C, top, left, size, size] of all cuts; one index per image copies whole rows of pixels.
    cuts = sliding_window_view(padded, (step.size, step.size), axis=(2, 3))  # type: ignore[call-overload]  # stubs know one axis
    chosen: Pixels = cuts[np.arange(len(pixels)), :, tops, lefts]
    return chosen


def center_crop(step: CenterCrop, pixels: Pixels) -> Pixels:
    """Squares [B, C, size, size] from the middle, of images zero-padded where they are smaller."""
    missing = [max(step.size - side, 0) for side in pixels.shape[2:]]
    rows, columns = ((few // 2, few - few // 2) for few in missing)
    padded = padded_with_zeros(pixels, rows, columns) if any(missing) else pixels
    # Python's round, halves to even, as torchvision has it.
    top, left = (round((side - step.size) / 2) for side in padded.shape[2:])
    return padded[:, :, top : top + step.size, left : left + step.size].copy()


def random_horizontal_flip(step: RandomHorizontalFlip, pixels: Pixels, words: Words) -> Pixels:
    """The images, some mirrored left to right."""
    places = np.flatnonzero(flipped(step, words))
    result = pixels.copy()
    # take() copies pixels from right to left faster than a view of negative stride does.
    result[places] = pixels[places].take(np.arange(pixels.shape[3])[::-1], axis=3)
    return result


def padded_with_zeros(pixels: Pixels, rows: tuple[int, int], columns: tuple[int, int]) -> Pixels:
    """Images with zeros before and after their rows and columns; np.pad is many times slower."""
    images, channels, height, width = pixels.shape
    padded = np.zeros((images, channels, height + sum(rows), width + sum(columns)), dtype=np.uint8)
    padded[:, :, rows[0] : rows[0] + height, columns[0] : columns[0] + width] = pixels
    return padded
