"""ResNet (He et al., 2015), with torchvision's names, strides and initial weights."""

from typing import Literal

from xtrain.spec import (
    AdaptiveAvgPool2d,
    AnyLayer,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Shape,
)
from xtrain.spec.base import frozen

_BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
"""How many residual blocks each of the four stages has: table 1 of the paper."""


@frozen
class ResNet:
    """A stem, four stages of residual blocks, global pool, fc; resnet50: 25,557,032 parameters for ImageNet.

    Args:
        name: how many layers have weights; resnet50 has bottlenecks, the stride in their 3x3 convolution.
        stem: `imagenet` is a 7x7 convolution of stride 2 and a 3x3 max-pool of stride 2, as torchvision has
            it; `cifar` a 3x3 convolution of stride 1 without a pool, as weiaicunzai/pytorch-cifar100 has it.

    """

    name: Literal["resnet18", "resnet34", "resnet50"]
    stem: Literal["imagenet", "cifar"] = "imagenet"

    def layers(self, input_shape: Shape, classes: int) -> tuple[Layer, ...]:
        """Stem, stages, head."""
        bottleneck = self.name == "resnet50"
        stages = [stage(number, count, bottleneck) for number, count in enumerate(_BLOCKS[self.name], 1)]
        return (*stem(self.stem), *(layer for layers in stages for layer in layers), *head(classes))


def stem(kind: Literal["imagenet", "cifar"]) -> tuple[Layer, ...]:
    """To 64 channels: at a quarter of the image's side, or at all of it."""
    norm = (BatchNorm2d(name="bn1"), ReLU(name="relu"))
    if kind == "cifar":
        return (convolution("conv1", 64, 3), *norm)
    pool = MaxPool2d(name="maxpool", kernel_size=3, stride=2, padding=1)
    return (convolution("conv1", 64, 7, stride=2), *norm, pool)


def stage(number: int, blocks: int, bottleneck: bool = False) -> list[Layer]:
    """`layer1` to `layer4` of 64 to 512 channels (bottlenecks: fourfold); all but layer1 halve the side."""
    layers: list[Layer] = []
    for place in range(blocks):
        name, stride = f"layer{number}.{place}", 2 if number > 1 and place == 0 else 1
        channels = 32 * 2**number
        body = _bottleneck(channels, stride) if bottleneck else _basic(channels, stride)
        changes = place == 0 and (number > 1 or bottleneck)
        shortcut = _downsample(4 * channels if bottleneck else channels, stride) if changes else ()
        # torchvision's name layer1.0.relu would lie inside the block, which ends with the sum.
        layers += [Residual(name=name, body=body, shortcut=shortcut), ReLU(name=f"{name}_relu")]
    return layers


def head(classes: int) -> tuple[Layer, ...]:
    """Mean over all positions, then the logits."""
    pool = AdaptiveAvgPool2d(name="avgpool")
    return (pool, Flatten(name="flatten"), Linear(name="fc", out_features=classes))


def convolution(name: str, channels: int, size: int, stride: int = 1) -> Conv2d:
    """One that keeps the side at stride 1, without bias: a batch norm follows."""
    return Conv2d(
        name=name,
        out_channels=channels,
        kernel_size=size,
        stride=stride,
        padding=size // 2,
        bias=False,
        init="kaiming_normal",
    )


def _basic(channels: int, stride: int) -> tuple[AnyLayer, ...]:
    return (
        convolution("conv1", channels, 3, stride),
        BatchNorm2d(name="bn1"),
        ReLU(name="relu1"),
        convolution("conv2", channels, 3),
        BatchNorm2d(name="bn2"),
    )


def _bottleneck(channels: int, stride: int) -> tuple[AnyLayer, ...]:
    return (
        convolution("conv1", channels, 1),
        BatchNorm2d(name="bn1"),
        ReLU(name="relu1"),
        convolution("conv2", channels, 3, stride),
        BatchNorm2d(name="bn2"),
        ReLU(name="relu2"),
        convolution("conv3", 4 * channels, 1),
        BatchNorm2d(name="bn3"),
    )


def _downsample(channels: int, stride: int) -> tuple[AnyLayer, ...]:
    return (convolution("downsample.0", channels, 1, stride), BatchNorm2d(name="downsample.1"))
