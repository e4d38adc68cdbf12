"""Augmentation of whole uint8 batches from drawn words; semantics are torchvision's."""

import numpy as np
from numpy.typing import NDArray

from xtrain.spec import Augment, RandomCrop, RandomHorizontalFlip

Pixels = NDArray[np.uint8]
Words = NDArray[np.uint64]


def apply(step: Augment, pixels: Pixels, words: Words) -> Pixels:
    """Apply one augmentation to pixels [B, C, H, W]; row i of `words` decides for image i."""
    match step:
        case RandomCrop():
            return _random_crop(step, pixels, words)
        case RandomHorizontalFlip():
            return _random_horizontal_flip(step, pixels, words)


def crop_offsets(step: RandomCrop, shape: tuple[int, int], words: Words) -> tuple[NDArray[np.int64], ...]:
    """Top and left of each cut within the padded image of (height, width) `shape`."""
    tops, lefts = (
        (words[:, axis] % np.uint64(size + 2 * step.padding - step.size + 1)).astype(np.int64)
        for axis, size in enumerate(shape)
    )
    return tops, lefts


def flipped(step: RandomHorizontalFlip, words: Words) -> NDArray[np.bool_]:
    """True for each image that is mirrored."""
    return (words[:, 0] >> np.uint64(11)) < np.uint64(round(step.p * 2**53))


def _random_crop(step: RandomCrop, pixels: Pixels, words: Words) -> Pixels:
    pad = step.padding
    padded = np.pad(pixels, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    height, width = pixels.shape[2:]
    tops, lefts = crop_offsets(step, (height, width), words)
    within = np.arange(step.size)
    rows, columns = tops[:, None] + within, lefts[:, None] + within
    # [B, C, rows, columns]: each image by its own place, all channels alike.
    image, channel = np.arange(len(pixels)), np.arange(pixels.shape[1])
    cut: Pixels = padded[
        image[:, None, None, None], channel[:, None, None], rows[:, None, :, None], columns[:, None, None, :]
    ]
    return cut


def _random_horizontal_flip(step: RandomHorizontalFlip, pixels: Pixels, words: Words) -> Pixels:
    mirrored = flipped(step, words)[:, None, None, None]
    return np.where(mirrored, pixels[..., ::-1], pixels)
