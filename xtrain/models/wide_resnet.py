"""Wide residual nets (Zagoruyko & Komodakis, 2016): few layers, many channels, norms before convolutions."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from xtrain.models.resnet import convolution, head
from xtrain.spec import AnyLayer, BatchNorm2d, Dropout, Layer, ReLU, Residual, Shape
from xtrain.spec.base import LARGEST, Depth, Fraction, frozen

_LARGEST_FACTOR = 64
"""What `width` is multiplied by in the last stage."""


def _is_of_whole_blocks(depth: int) -> int:
    if depth < 10 or depth % 6 != 4:
        raise ValueError("must be 6n+4, such as 16, 22, 28 or 40: three stages of n blocks")
    return depth


@frozen
class WideResNet:
    """WRN-depth-width: three stages of 16, 32, 64 times `width` channels; WRN-28-10: 36,479,194 parameters.

    Args:
        name: `wide_resnet`.
        depth: how many layers have weights, 6n+4 for stages of n blocks.
        width: the paper's k.
        dropout: between the two convolutions of a block; the paper has 0.3 where it has any.

    """

    name: Literal["wide_resnet"] = "wide_resnet"
    depth: Annotated[Depth, AfterValidator(_is_of_whole_blocks)] = 28
    width: Annotated[int, Field(ge=1, le=LARGEST // _LARGEST_FACTOR)] = 10
    dropout: Fraction = 0.0

    def layers(self, input_shape: Shape, classes: int) -> tuple[Layer, ...]:
        """A convolution to 16 channels, the stages, a last norm, global pool, logits."""
        layers: list[Layer] = [convolution("conv1", 16, 3)]
        for number, before in enumerate((16, 16 * self.width, 32 * self.width), 1):
            layers += self._stage(number, before)
        return (*layers, BatchNorm2d(name="bn"), ReLU(name="relu"), *head(classes))

    def _stage(self, number: int, before: int) -> list[Layer]:
        """`layer1` to `layer3`, given `before` channels; all but the first halve the side."""
        channels, stride = 8 * 2**number * self.width, 1 if number == 1 else 2
        body = (*_norm("bn1", "relu1"), *self._convolutions(channels, 1))
        names = [f"layer{number}.{place}" for place in range((self.depth - 4) // 6)]
        blocks = [Residual(name=name, body=body) for name in names]
        if channels == before:
            return [*blocks]
        # Body and shortcut both take the normalised input; elsewhere the shortcut is the identity.
        shortcut = (convolution("shortcut", channels, 1, stride),)
        first = Residual(name=names[0], body=self._convolutions(channels, stride), shortcut=shortcut)
        return [*_norm(f"layer{number}.bn", f"layer{number}.relu"), first, *blocks[1:]]

    def _convolutions(self, channels: int, stride: int) -> tuple[AnyLayer, ...]:
        dropout = (Dropout(name="dropout", p=self.dropout),) if self.dropout else ()
        return (
            convolution("conv1", channels, 3, stride),
            *_norm("bn2", "relu2"),
            *dropout,
            convolution("conv2", channels, 3),
        )


def _norm(norm: str, relu: str) -> tuple[BatchNorm2d, ReLU]:
    return BatchNorm2d(name=norm), ReLU(name=relu)
