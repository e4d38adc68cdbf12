"""The LeNet of PyTorch's CIFAR-10 tutorial: two 5x5 convolutions, three linear layers, ReLU, max-pooling."""

from typing import Literal

from xtrain.models.mlp import head
from xtrain.spec import Conv2d, Flatten, Layer, MaxPool2d, ReLU, Shape
from xtrain.spec.base import Fraction, frozen


@frozen
class LeNet:
    """Convolutions of 6 and 16 channels, then 120-84-classes; 62,006 parameters for CIFAR-10."""

    name: Literal["lenet"] = "lenet"
    dropout: Fraction = 0.0

    def layers(self, input_shape: Shape, classes: int) -> tuple[Layer, ...]:
        """Two blocks of convolution, ReLU and pool, then the linear layers."""
        blocks: list[Layer] = []
        for channels in (6, 16):
            blocks += [Conv2d(out_channels=channels, kernel_size=5), ReLU(), MaxPool2d(kernel_size=2)]
        return (*blocks, Flatten(), *head((120, 84), classes, self.dropout))
