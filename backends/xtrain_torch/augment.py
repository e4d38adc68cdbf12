"""Crops and flips on the device: what `xtrain.data.augment` makes of the same words, to the bit."""

import torch
import torch.nn.functional as F
from torch import Tensor

from xtrain.data.augment import Words, crop_offsets, flipped
from xtrain.spec import Augment, RandomCrop, RandomHorizontalFlip

HERE = (RandomCrop, RandomHorizontalFlip)
"""What is done on the device; anything else takes all the steps to NumPy."""


def apply(step: Augment, pixels: Tensor, words: Words) -> Tensor:
    """Apply one operation of `HERE` to pixels uint8 [B, C, H, W]; row i of `words` decides for image i."""
    match step:
        case RandomCrop():
            return _crop(step, pixels, words)
        case RandomHorizontalFlip():
            mirrored = torch.from_numpy(flipped(step, words)).to(pixels.device)
            return torch.where(mirrored[:, None, None, None], pixels.flip(3), pixels)
    raise TypeError(f"{step!r} is none of HERE")


def _crop(step: RandomCrop, pixels: Tensor, words: Words) -> Tensor:
    height, width = pixels.shape[2:]
    tops, lefts = (torch.from_numpy(places) for places in crop_offsets(step, (height, width), words))
    images = torch.arange(len(pixels), device=pixels.device)
    within = torch.arange(step.size, device=pixels.device)
    rows, columns = (places.to(pixels.device)[:, None] + within for places in (tops, lefts))
    padded = F.pad(pixels, [step.padding] * 4)
    # Indices on both sides of the channels put these last: [B, size, size, C].
    cut = padded[images[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return cut.permute(0, 3, 1, 2)
