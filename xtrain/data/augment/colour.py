"""Brightness, contrast, saturation and hue, each with torchvision's own float32 operations in their order.

A change is rounded down to whole pixel values before the next one, as torchvision does with uint8 images.
"""

from functools import partial
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from xtrain.data.augment.drawn import Pixels, Words, by_pieces, integers, uniform
from xtrain.spec import ColorJitter

Floats = NDArray[np.float32]

CHANGES = ("brightness", "contrast", "saturation", "hue")
_ORDERS = np.array(list(permutations(range(len(CHANGES)))))
_GREY_SHARES = np.array([0.2989, 0.587, 0.114], dtype=np.float32)


def jitter_factors(
    step: ColorJitter, words: Words
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """The order of `CHANGES` for each image, [B, 4], and the factors [B] of each change that happens.

    The words: the order, then a factor for each of `CHANGES`, whether it happens or not.
    """
    orders: NDArray[np.int64] = _ORDERS[integers(words[:, 0], len(_ORDERS))]
    factors = {
        name: uniform(words[:, 1 + CHANGES.index(name)], low, high)
        for name, (low, high) in step.ranges.items()
    }
    return orders, factors


def color_jitter(step: ColorJitter, pixels: Pixels, words: Words) -> Pixels:
    """The images, each changed by its own factors in its own order; grey ones keep saturation and hue."""
    return by_pieces(partial(_jittered, step), pixels, words)


def _jittered(step: ColorJitter, pixels: Pixels, words: Words) -> Pixels:
    orders, factors = jitter_factors(step, words)
    result = pixels.copy()
    for turn in range(len(CHANGES)):
        for place, name in enumerate(CHANGES):
            chosen = np.flatnonzero(orders[:, turn] == place)
            if name in factors and len(chosen):
                result[chosen] = _CHANGE[name](result[chosen], factors[name][chosen])
    return result


def _brightness(pixels: Pixels, factors: NDArray[np.float64]) -> Pixels:
    return _blend(pixels, np.zeros(1, dtype=np.float32), factors)


def _contrast(pixels: Pixels, factors: NDArray[np.float64]) -> Pixels:
    grey = _grey(pixels) if pixels.shape[1] == 3 else pixels
    # Whole numbers add up without rounding, in any order.
    sums = grey.sum(axis=(1, 2, 3), dtype=np.int64).astype(np.float32)
    return _blend(pixels, (sums / np.float32(grey[0].size))[:, None, None, None], factors)


def _saturation(pixels: Pixels, factors: NDArray[np.float64]) -> Pixels:
    return _blend(pixels, _grey(pixels), factors) if pixels.shape[1] == 3 else pixels


def _hue(pixels: Pixels, factors: NDArray[np.float64]) -> Pixels:
    if pixels.shape[1] != 3:
        return pixels
    hue, saturation, value = _hsv(pixels.astype(np.float32) / np.float32(255))
    hue = _fraction(hue + factors.astype(np.float32)[:, None, None])
    colours = _rgb(hue, saturation, value)
    result: Pixels = (colours * np.float32(255 + 1.0 - 1e-3)).astype(np.uint8)
    return result


_CHANGE = {"brightness": _brightness, "contrast": _contrast, "saturation": _saturation, "hue": _hue}


def _blend(pixels: Pixels, other: Pixels | Floats, factors: NDArray[np.float64]) -> Pixels:
    """`factor * pixels + (1 - factor) * other`, kept within 0 to 255 and rounded down."""
    mine, others = (share.astype(np.float32)[:, None, None, None] for share in (factors, 1.0 - factors))
    mixed = mine * pixels + others * other
    result: Pixels = np.clip(mixed, 0, 255, out=mixed).astype(np.uint8)
    return result


def _grey(pixels: Pixels) -> Pixels:
    """[B, 1, H, W] of colours [B, 3, H, W], rounded down."""
    red, green, blue = (_GREY_SHARES[channel] * pixels[:, channel] for channel in range(3))
    grey: Pixels = (red + green + blue).astype(np.uint8)[:, None]
    return grey


def _hsv(colours: Floats) -> tuple[Floats, Floats, Floats]:
    """Hue, saturation and value [B, H, W] of colours [B, 3, H, W], all from 0 to 1."""
    red, green, blue = (colours[:, channel] for channel in range(3))
    highest, lowest = colours.max(axis=1), colours.min(axis=1)
    spread = highest - lowest
    grey = spread == 0
    saturation = spread / np.where(grey, np.float32(1), highest)
    divisor = np.where(grey, np.float32(1), spread)
    by_red, by_green, by_blue = ((highest - colour) / divisor for colour in (red, green, blue))
    is_red, is_green = highest == red, highest == green
    sector = np.where(
        is_red,
        by_blue - by_green,
        np.where(is_green, np.float32(2) + by_red - by_blue, np.float32(4) + by_green - by_red),
    )
    hue = _fraction(sector / np.float32(6) + np.float32(1))
    return hue, saturation, highest


def _fraction(turns: Floats) -> Floats:
    """The remainder of a division by 1, from 0 on; to the bit what fmod says, many times faster."""
    fraction: Floats = turns - np.floor(turns)
    return fraction


def _rgb(hue: Floats, saturation: Floats, value: Floats) -> Floats:
    """Colours [B, 3, H, W] of hue, saturation and value [B, H, W]."""
    one = np.float32(1)
    sixths = hue * np.float32(6)
    sector = np.floor(sixths)
    part = sixths - sector
    low = np.clip(value * (one - saturation), 0, 1)
    falling = np.clip(value * (one - saturation * part), 0, 1)
    rising = np.clip(value * (one - saturation * (one - part)), 0, 1)
    # Each colour goes through the same six pieces, from another one on.
    pieces = [value, falling, low, low, rising, value]
    places = sector.astype(np.intp)  # 6 for a hue that was rounded up to 1
    colours = [np.choose(places, pieces[start:] + pieces[:start], mode="wrap") for start in (0, 4, 2)]
    return np.stack(colours, axis=1)
