"""Rotation about the centre. Where a pixel comes from is computed in float32, as torchvision does."""

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from xtrain.data.augment.drawn import Pixels, Words, by_channel, by_pieces, uniform
from xtrain.spec import RandomRotation

Floats = NDArray[np.float32]


def angles(step: RandomRotation, words: Words) -> NDArray[np.float64]:
    """Degrees by which each image is turned counter-clockwise."""
    return uniform(words[:, 0], *step.range)


def random_rotation(step: RandomRotation, pixels: Pixels, words: Words) -> Pixels:
    """The images, each turned by its own angle; what comes from outside an image is `fill`."""
    return by_pieces(partial(_rotated, step), pixels, words)


def _rotated(step: RandomRotation, pixels: Pixels, words: Words) -> Pixels:
    columns, rows = _sources(angles(step, words), pixels.shape[2], pixels.shape[3])
    if step.interpolation == "nearest":
        return _nearest(pixels, columns, rows, by_channel(step.fill))
    return _bilinear(pixels, columns, rows, by_channel(step.fill).astype(np.float32))


def _sources(degrees: NDArray[np.float64], height: int, width: int) -> tuple[Floats, Floats]:
    """Column and row [B, H, W] that each pixel of the result comes from.

    Both are kept within one pixel of the image, where there is nothing but the fill any more.
    """
    # By math, whose results can't depend on an angle's place in the batch as those of vector code may.
    turns = [math.radians(angle) for angle in degrees]
    cosines, sines = (
        np.array([function(turn) for turn in turns], dtype=np.float32)[:, None]
        for function in (math.cos, math.sin)
    )
    x, y = (np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2) for size in (width, height))
    columns = (cosines * x)[:, None, :] - (sines * y)[:, :, None] + np.float32((width - 1) / 2)
    rows = (sines * x)[:, None, :] + (cosines * y)[:, :, None] + np.float32((height - 1) / 2)
    for places, size in ((columns, width), (rows, height)):
        np.clip(places, -1, size, out=places)
    return columns, rows


def _nearest(pixels: Pixels, columns: Floats, rows: Floats, fill: Pixels) -> Pixels:
    # Halves to even, as grid_sample has it.
    framed = _framed(pixels, fill)
    corners = _indices(framed, np.rint(columns), np.rint(rows))
    return _taken(framed, corners, 0)


def _bilinear(pixels: Pixels, columns: Floats, rows: Floats, fill: Floats) -> Pixels:
    height, width = pixels.shape[2:]
    left, top = np.floor(columns), np.floor(rows)
    right_share, bottom_share = (columns - left)[:, None], (rows - top)[:, None]
    left_share, top_share = 1 - right_share, 1 - bottom_share
    framed = _framed(pixels, np.zeros_like(fill, dtype=np.uint8))
    corners, stride = _indices(framed, left, top), framed.shape[3]
    mixed = _taken(framed, corners, 0) * (left_share * top_share)
    mixed += _taken(framed, corners, 1) * (right_share * top_share)
    mixed += _taken(framed, corners, stride) * (left_share * bottom_share)
    mixed += _taken(framed, corners, stride + 1) * (right_share * bottom_share)
    # How much of a pixel comes from inside the image. torchvision, too, multiplies by it once more.
    inside = np.minimum(np.minimum(columns + 1, width - columns), 1) * np.minimum(
        np.minimum(rows + 1, height - rows), 1
    )
    inside = inside[:, None]
    result: Pixels = np.rint(mixed * inside + (1 - inside) * fill).astype(np.uint8)
    return result


def _framed(pixels: Pixels, fill: Pixels) -> Pixels:
    """Images in a frame of `fill`: one row and column before them, two after."""
    images, channels, height, width = pixels.shape
    framed = np.empty((images, channels, height + 3, width + 3), dtype=np.uint8)
    framed[:] = fill
    framed[:, :, 1:-2, 1:-2] = pixels
    return framed


def _indices(framed: Pixels, columns: Floats, rows: Floats) -> NDArray[np.intp]:
    """Index [B, H, W] into the flat framed images' first channel, of places in the unframed ones."""
    images, channels, height, width = framed.shape
    starts = np.arange(images) * (channels * height * width) + width + 1
    indices: NDArray[np.intp] = rows.astype(np.intp)
    indices *= width
    indices += columns.astype(np.intp)
    indices += starts[:, None, None]
    return indices


def _taken(framed: Pixels, indices: NDArray[np.intp], offset: int) -> Pixels:
    """Pixels [B, C, H, W] at `offset` after the indices, of all channels."""
    images, channels, height, width = framed.shape
    flat = framed.reshape(-1)
    taken = np.empty((images, channels, *indices.shape[1:]), dtype=np.uint8)
    for channel in range(channels):
        # Every index is within: "clip" only spares the check. Views from an offset spare an addition.
        taken[:, channel] = flat[channel * height * width + offset :].take(indices, mode="clip")
    return taken
