"""VGG (Simonyan & Zisserman, 2015), with torchvision's names and initial weights."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from xtrain.spec import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Shape,
)
from xtrain.spec.base import Fraction, frozen
from xtrain.spec.tensors import Init

_CHANNELS = (64, 128, 256, 512, 512)
_CONVOLUTIONS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
"""How many convolutions of `_CHANNELS` come before each pool: configurations A, B, D, E of the paper."""


@frozen
class VGG:
    """3x3 convolutions, five 2x2 pools, 4096-4096-classes; vgg16: 138,357,544 parameters for ImageNet.

    Args:
        name: how many layers have weights, `_bn`: batch norm after each convolution.
        head: `imagenet` pools to 7x7 before the linear layers (25088 features), as torchvision has it;
            `cifar` has no such pool (512 features of a 32x32 image), as weiaicunzai/pytorch-cifar100 has it.
        dropout: after each hidden linear layer.

    """

    name: Literal["vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"]
    head: Literal["imagenet", "cifar"] = "imagenet"
    dropout: Fraction = 0.5

    def layers(self, input_shape: Shape, classes: int) -> tuple[Layer, ...]:
        """Features, the head's pool, classifier."""
        plain = self.name.removesuffix("_bn")
        pool = (AdaptiveAvgPool2d(name="avgpool", output_size=7),) if self.head == "imagenet" else ()
        return (
            *numbered("features", features(_CONVOLUTIONS[plain], batch_norm=plain != self.name)),
            *pool,
            Flatten(name="flatten"),
            *classifier(classes, self.dropout, "normal"),
        )


def features(convolutions: Iterable[int], batch_norm: bool) -> list[Layer]:
    """For each stage its convolutions, each with ReLU, and a pool."""
    layers: list[Layer] = []
    for channels, count in zip(_CHANNELS, convolutions, strict=False):
        for _ in range(count):
            layers.append(Conv2d(out_channels=channels, kernel_size=3, padding=1, init="kaiming_normal"))
            layers += [BatchNorm2d(), ReLU()] if batch_norm else [ReLU()]
        layers.append(MaxPool2d(kernel_size=2))
    return layers


def classifier(classes: int, dropout: float, init: Init) -> tuple[Layer, ...]:
    """4096-4096-classes; a dropout of 0 is left out, its number too."""
    hidden = (Linear(out_features=4096, init=init), ReLU(), Dropout(p=dropout))
    layers = numbered("classifier", (*hidden, *hidden, Linear(out_features=classes, init=init)))
    return tuple(layer for layer in layers if dropout or not isinstance(layer, Dropout))


def numbered(container: str, layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """The layers called `container.0`, `container.1`, ..., as in an nn.Sequential."""
    return tuple(replace(layer, name=f"{container}.{place}") for place, layer in enumerate(layers))
