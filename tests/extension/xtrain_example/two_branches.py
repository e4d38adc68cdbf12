"""A model: a wide and a narrow convolution over the same image, added up."""

from typing import Literal

from xtrain.extend import Count, Layer, Shape, frozen
from xtrain.spec import AdaptiveAvgPool2d, Conv2d, Flatten, Linear, Residual
from xtrain_example.prelu import PReLU
from xtrain_example.swish import Swish


@frozen
class TwoBranches:
    """`width` is the channels of each branch."""

    name: Literal["two_branches"] = "two_branches"
    width: Count = 8

    def layers(self, input_shape: Shape, classes: int) -> tuple[Layer, ...]:
        """Both branches, their sum, and the logits."""
        wide = Conv2d(name="wide", out_channels=self.width, kernel_size=5, padding=2)
        narrow = Conv2d(name="narrow", out_channels=self.width, kernel_size=3, padding=1)
        return (
            Residual(name="branches", body=(wide, Swish()), shortcut=(narrow, PReLU())),
            Swish(beta=1.5),
            AdaptiveAvgPool2d(output_size=2),
            Flatten(),
            Linear(out_features=classes),
        )
