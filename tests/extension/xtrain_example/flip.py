"""An augmentation: images turned upside down."""

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from xtrain.extend import Fraction, Shape, fractions, frozen


@frozen
class RandomVerticalFlip:
    """Mirrors top to bottom with probability `p`; one drawn word decides for each image."""

    words: ClassVar[int] = 1
    op: Literal["random_vertical_flip"] = "random_vertical_flip"
    p: Fraction = 0.5

    def output_shape(self, shape: Shape) -> Shape:
        """The same."""
        return shape

    def apply(self, pixels: NDArray[np.uint8], words: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """Pixels [B, C, H, W] after it, words [B, 1]."""
        chosen = fractions(words[:, 0]) < self.p
        return np.where(chosen[:, None, None, None], pixels[:, :, ::-1], pixels)
