"""Scaling, as torch.nn.functional.interpolate does it: in float32, columns before rows."""

import numpy as np
from numpy.typing import NDArray

from xtrain.data.augment.drawn import Pixels
from xtrain.spec import Resize

Floats = NDArray[np.float32]
Taps = tuple[NDArray[np.intp], Floats]


def resize(step: Resize, pixels: Pixels) -> Pixels:
    """Images scaled to the step's size."""
    _, height, width = step.output_shape((1, *pixels.shape[2:]))
    if (height, width) == pixels.shape[2:]:
        return pixels
    if step.interpolation == "nearest":
        rows, columns = (_nearest(*sizes) for sizes in zip(pixels.shape[2:], (height, width), strict=True))
        return pixels.take(rows, axis=2).take(columns, axis=3)
    taps = _antialiased if step.antialias else _neighbours
    scaled = _mixed(pixels, taps(pixels.shape[3], width), axis=3)
    scaled = _mixed(scaled, taps(pixels.shape[2], height), axis=2)
    result: Pixels = np.rint(scaled).astype(np.uint8)
    return result


def _nearest(size: int, target: int) -> NDArray[np.intp]:
    """The pixel that each of `target` ones is a copy of."""
    scale = np.float32(size) / np.float32(target)
    return np.minimum((np.arange(target, dtype=np.float32) * scale).astype(np.intp), size - 1)


def _neighbours(size: int, target: int) -> Taps:
    """The two pixels around the centre of each of `target` ones, and their shares: [target, 2] each."""
    scale = np.float32(size) / np.float32(target)
    places = np.maximum((np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5), 0)
    first = np.minimum(places.astype(np.intp), size - 1)
    share: Floats = np.clip(places - first.astype(np.float32), 0, 1)
    indices = np.stack([first, np.minimum(first + 1, size - 1)], axis=1)
    return indices, np.stack([1 - share, share], axis=1).astype(np.float32)


def _antialiased(size: int, target: int) -> Taps:
    """The pixels under a triangle about the centre of each of `target` ones, and their shares.

    Both are [target, n]. The triangle is as wide as it takes to cover all pixels of a larger image.
    """
    scale = np.float32(size) / np.float32(target)
    support = max(scale, np.float32(1))
    centers = (np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale
    first = np.maximum((centers - support + np.float32(0.5)).astype(np.intp), 0)
    last = np.minimum((centers + support + np.float32(0.5)).astype(np.intp), size)
    indices = first[:, None] + np.arange((last - first).max())
    distances = (indices.astype(np.float32) - centers[:, None] + np.float32(0.5)) / support
    shares = np.maximum(1 - np.abs(distances), 0).astype(np.float32)
    shares[indices >= last[:, None]] = 0
    shares /= shares.sum(axis=1, keepdims=True)
    return np.minimum(indices, size - 1), shares


def _mixed(images: NDArray[np.uint8] | Floats, taps: Taps, axis: int) -> Floats:
    """Weighted sums along an axis, one tap after the other: the order is the same for every image."""
    indices, shares = taps
    shape = (-1, 1) if axis == 2 else (-1,)
    total: Floats = images.take(indices[:, 0], axis=axis) * shares[:, 0].reshape(shape)
    for tap in range(1, indices.shape[1]):
        total += images.take(indices[:, tap], axis=axis) * shares[:, tap].reshape(shape)
    return total
