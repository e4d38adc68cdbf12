"""Rectangles set to one value."""

import math

import numpy as np
from numpy.typing import NDArray

from xtrain.data.augment.drawn import Pixels, Words, by_channel, fractions, integers, uniform
from xtrain.spec import Cutout, RandomErasing

Boxes = tuple[NDArray[np.int64], ...]
_TRIES = 10


def erased_boxes(step: RandomErasing, shape: tuple[int, int], words: Words) -> Boxes:
    """Top, left, bottom and right of what is erased of each image of `shape`; all 0 where nothing is.

    The words: whether; area and ratio of the ten tries; top and left of the one that is taken.
    """
    height, width = shape
    areas = height * width * uniform(words[:, 1 : 1 + 2 * _TRIES : 2], *step.scale)
    ratios = np.exp(uniform(words[:, 2 : 2 + 2 * _TRIES : 2], *map(math.log, step.ratio)))
    # rint: halves to even, as Python's round in torchvision.
    heights, widths = (
        np.rint(np.sqrt(square)).astype(np.int64) for square in (areas * ratios, areas / ratios)
    )
    smaller = (heights < height) & (widths < width)
    taken = smaller.argmax(axis=1)[:, None]
    happens = (fractions(words[:, 0]) < step.p) & smaller.any(axis=1)
    tall, wide = (
        np.where(happens, np.take_along_axis(size, taken, 1)[:, 0], 0) for size in (heights, widths)
    )
    tops = np.where(happens, integers(words[:, -2], height - tall + 1), 0)
    lefts = np.where(happens, integers(words[:, -1], width - wide + 1), 0)
    return tops, lefts, tops + tall, lefts + wide


def cutout_boxes(step: Cutout, shape: tuple[int, int], words: Words) -> Boxes:
    """Top, left, bottom and right of each square, cut off at the borders of an image of `shape`.

    The first word decides the centre's row, the second its column.
    """
    (tops, bottoms), (lefts, rights) = (
        (np.maximum(first, 0), np.minimum(first + step.size, side))
        for side, first in (
            (side, integers(words[:, axis], side) - step.size // 2) for axis, side in enumerate(shape)
        )
    )
    return tops, lefts, bottoms, rights


def random_erasing(step: RandomErasing, pixels: Pixels, words: Words) -> Pixels:
    """The images, some with a rectangle erased."""
    return _filled(
        pixels, erased_boxes(step, (pixels.shape[2], pixels.shape[3]), words), by_channel(step.value)
    )


def cutout(step: Cutout, pixels: Pixels, words: Words) -> Pixels:
    """The images, each with a square erased."""
    return _filled(
        pixels, cutout_boxes(step, (pixels.shape[2], pixels.shape[3]), words), by_channel(step.value)
    )


def _filled(pixels: Pixels, boxes: Boxes, value: Pixels) -> Pixels:
    tops, lefts, bottoms, rights = (edges[:, None] for edges in boxes)
    rows, columns = np.arange(pixels.shape[2]), np.arange(pixels.shape[3])
    within = ((rows >= tops) & (rows < bottoms))[:, :, None] & ((columns >= lefts) & (columns < rights))[
        :, None
    ]
    result = pixels.copy()
    np.copyto(result, value, where=within[:, None])
    return result
