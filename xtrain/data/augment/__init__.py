"""Augmentation of whole uint8 batches from drawn words; semantics are torchvision's.

What becomes of an image depends on its own pixels and words alone, to the bit, whatever batch it is in: each
operation is made of elementwise ones, in a fixed order.
"""

from xtrain.data.augment.colour import color_jitter, jitter_factors
from xtrain.data.augment.crop import center_crop, crop_offsets, flipped, random_crop, random_horizontal_flip
from xtrain.data.augment.drawn import Pixels, Words
from xtrain.data.augment.erasing import cutout, cutout_boxes, erased_boxes, random_erasing
from xtrain.data.augment.resize import resize
from xtrain.data.augment.rotation import angles, random_rotation
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


def apply(step: Augment, pixels: Pixels, words: Words) -> Pixels:  # noqa: PLR0911 - one per operation
    """Apply one operation to pixels [B, C, H, W]; row i of `words` [B, step.words] decides for image i.

    The result is another array, unless nothing is done to any image.
    """
    match step:
        case RandomCrop():
            return random_crop(step, pixels, words)
        case CenterCrop():
            return center_crop(step, pixels)
        case RandomHorizontalFlip():
            return random_horizontal_flip(step, pixels, words)
        case RandomRotation():
            return random_rotation(step, pixels, words)
        case Resize():
            return resize(step, pixels)
        case RandomErasing():
            return random_erasing(step, pixels, words)
        case Cutout():
            return cutout(step, pixels, words)
        case ColorJitter():
            return color_jitter(step, pixels, words)
