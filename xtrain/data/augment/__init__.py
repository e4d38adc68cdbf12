"""Augmentation of whole uint8 batches from drawn words; semantics are torchvision's.

What becomes of an image depends on its own pixels and words alone, to the bit, whatever batch it is in: each
operation is made of elementwise ones, in a fixed order.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xtrain.data.augment.colour import color_jitter, jitter_factors
from xtrain.data.augment.crop import center_crop, crop_offsets, flipped, random_crop, random_horizontal_flip
from xtrain.data.augment.drawn import Pixels, Words
from xtrain.data.augment.erasing import cutout, cutout_boxes, erased_boxes, random_erasing
from xtrain.data.augment.resize import resize
from xtrain.data.augment.rotation import angles, random_rotation
from xtrain.errors import PluginError
from xtrain.spec import (
    Augment,
    CenterCrop,
    ColorJitter,
    Cutout,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomRotation,
    Resize,
)
from xtrain.spec.parts import OwnCode, package_of

__all__ = [
    "Pixels",
    "Words",
    "angles",
    "apply",
    "crop_offsets",
    "cutout_boxes",
    "erased_boxes",
    "flipped",
    "jitter_factors",
]


_OURS: Mapping[type, Callable[[Any, Pixels, Words], Pixels]] = {
    RandomCrop: random_crop,
    CenterCrop: lambda step, pixels, words: center_crop(step, pixels),
    RandomHorizontalFlip: random_horizontal_flip,
    RandomRotation: random_rotation,
    Resize: lambda step, pixels, words: resize(step, pixels),
    RandomErasing: random_erasing,
    Cutout: cutout,
    ColorJitter: color_jitter,
}


def apply(step: Augment, pixels: Pixels, words: Words) -> Pixels:
    """Apply one operation to pixels [B, C, H, W]; row i of `words` [B, step.words] decides for image i.

    The result is another array, unless nothing is done to any image. `PluginError` where an operation of
    another package fails, or gives anything but pixels of the shape that it says.
    """
    ours = _OURS.get(type(step))
    if ours:
        return ours(step, pixels, words)
    with OwnCode("whose apply() fails", step):
        made = getattr(step, "apply")(pixels, words)  # noqa: B009 - which every other package's has
    shape = (len(pixels), *step.output_shape(pixels.shape[1:]))
    if not isinstance(made, np.ndarray) or made.dtype != np.uint8 or made.shape != shape:
        given = f"{made.dtype} {made.shape}" if isinstance(made, np.ndarray) else type(made).__name__
        problem = f"augmentation {step.op!r} gives {given}, not uint8 {shape}"
        raise PluginError(problem, where=package_of(step) or None)
    return made
