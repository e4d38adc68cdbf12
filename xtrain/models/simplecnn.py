"""A small convolutional net: 3x3 convolutions with ReLU and max-pooling, then linear layers."""

from typing import Literal

from xtrain.models.mlp import head
from xtrain.spec import Conv2d, Flatten, Layer, MaxPool2d, ReLU, Shape
from xtrain.spec.base import Counts, Fraction, NonNegativeInt, frozen


@frozen
class SimpleCNN:
    """A convolution, ReLU and 2x2 pool for each of `channels`; 315,722 parameters for CIFAR-10."""

    name: Literal["simplecnn"] = "simplecnn"
    channels: Counts = (32, 64)
    padding: NonNegativeInt = 0
    hidden: Counts = (128,)
    dropout: Fraction = 0.0

    def layers(self, input_shape: Shape, classes: int) -> tuple[Layer, ...]:
        """The blocks, then the linear layers."""
        blocks: list[Layer] = []
        for channels in self.channels:
            convolution = Conv2d(out_channels=channels, kernel_size=3, padding=self.padding)
            blocks += [convolution, ReLU(), MaxPool2d(kernel_size=2)]
        return (*blocks, Flatten(), *head(self.hidden, classes, self.dropout))
