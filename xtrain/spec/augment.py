"""What may be done to the pixels of a batch, as values; names and semantics are torchvision's.

Each operation says how many random 64-bit words it needs for a sample (`words`; none for what is not drawn)
and which shape it makes of an image. Pixels are uint8, before normalisation: a `fill` or `value` is a pixel
value from 0 to 255, or a list with one for each channel.
"""

from typing import Annotated, ClassVar, Literal, Protocol, Self

from pydantic import Field, Strict, model_validator

from xtrain.spec.base import LARGEST_SIDE, NonNegative, Side, frozen
from xtrain.spec.parts import Parts
from xtrain.spec.tensors import Shape, ShapeError

Pixel = Annotated[int, Field(ge=0, le=255)]
PixelOrPixels = Pixel | Annotated[tuple[Pixel, ...], Field(min_length=1), Strict(False)]
Probability = Annotated[float, Field(ge=0, le=1)]
Sides = Side | Annotated[tuple[Side, Side], Strict(False)]
Factor = Annotated[float, Field(ge=0, le=1e6)]
Range = Annotated[tuple[Factor, Factor], Strict(False)]
Ratio = Annotated[float, Field(ge=1e-6, le=1e6)]
Degrees = NonNegative | Annotated[tuple[float, float], Strict(False)]
HueShift = Annotated[float, Field(ge=-0.5, le=0.5)]
Hue = Annotated[float, Field(ge=0, le=0.5)] | Annotated[tuple[HueShift, HueShift], Strict(False)]


class Augmentation(Protocol):
    """What every operation has.

    One of another package does it itself: its `apply(pixels, words)` is given pixels uint8 [B, C, H, W] and
    drawn words uint64 [B, words], and gives pixels.
    """

    words: ClassVar[int]

    @property
    def op(self) -> str:
        """What selects it."""

    def output_shape(self, shape: Shape) -> Shape:
        """Shape (channels, height, width) that it makes of an image's; `ShapeError` where it can't."""


AUGMENTS = Parts[Augmentation](
    "Augmentation", "xtrain.augment", "op", ("op", "words", "output_shape", "apply")
)
TRANSFORMS = AUGMENTS.only(
    "Transform", lambda kind: kind.words == 0, "draws random words, so it stands in data.augment only"
)
"""What is not drawn, so that it may be done to the images of an evaluation too."""
Augment = Annotated[Augmentation, AUGMENTS]
Transform = Annotated[Augmentation, TRANSFORMS]


@AUGMENTS.register
@frozen
class RandomCrop:
    """Pads all four sides with zeros (before normalisation) and cuts a square at a drawn place."""

    words: ClassVar[int] = 2
    op: Literal["random_crop"] = "random_crop"
    size: Side
    padding: Annotated[int, Field(ge=0, le=LARGEST_SIDE)] = 0

    def output_shape(self, shape: Shape) -> Shape:
        """A square; `ShapeError` where the padded image is smaller."""
        smallest = min(shape[1:]) + 2 * self.padding
        if self.size > smallest:
            raise ShapeError(
                f"size = {self.size}: must be {smallest} or less, the padded image's smaller side"
            )
        return shape[0], self.size, self.size


@AUGMENTS.register
@frozen
class CenterCrop:
    """Cuts a square from the middle; a smaller image is padded with zeros first."""

    words: ClassVar[int] = 0
    op: Literal["center_crop"] = "center_crop"
    size: Side

    def output_shape(self, shape: Shape) -> Shape:
        """A square, whatever the image."""
        return shape[0], self.size, self.size


@AUGMENTS.register
@frozen
class Resize:
    """Scales to (height, width) `size`, or the smaller side to `size`; the larger then keeps the proportion.

    `antialias` is for the bilinear one, which averages all pixels that a smaller image's pixel covers.
    """

    words: ClassVar[int] = 0
    op: Literal["resize"] = "resize"
    size: Sides
    interpolation: Literal["bilinear", "nearest"] = "bilinear"
    antialias: bool = True

    def output_shape(self, shape: Shape) -> Shape:
        """The larger side is rounded down."""
        channels, height, width = shape
        if not isinstance(self.size, int):
            return channels, *self.size
        longer = int(self.size * max(height, width) / min(height, width))
        return (channels, longer, self.size) if height > width else (channels, self.size, longer)


@AUGMENTS.register
@frozen
class RandomHorizontalFlip:
    """Mirrors left to right with probability `p`."""

    words: ClassVar[int] = 1
    op: Literal["random_horizontal_flip"] = "random_horizontal_flip"
    p: Probability = 0.5

    def output_shape(self, shape: Shape) -> Shape:
        """The same."""
        return shape


@AUGMENTS.register
@frozen
class RandomRotation:
    """Turns counter-clockwise by a uniform angle between two `degrees`, or between -d and d of one."""

    words: ClassVar[int] = 1
    op: Literal["random_rotation"] = "random_rotation"
    degrees: Degrees
    interpolation: Literal["nearest", "bilinear"] = "nearest"
    fill: PixelOrPixels = 0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.range[0] > self.range[1]:
            raise ValueError("degrees: the smaller angle comes first")
        return self

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest angle."""
        return self.degrees if isinstance(self.degrees, tuple) else (-self.degrees, self.degrees)

    def output_shape(self, shape: Shape) -> Shape:
        """The same, where `fill` has a value for each channel."""
        return _with_channels(shape, "fill", self.fill)


@AUGMENTS.register
@frozen
class RandomErasing:
    """With probability `p` sets a rectangle to `value`: `scale` of the area, height to width as `ratio`.

    Ten rectangles are drawn, uniform in area and in the logarithm of the ratio; the first that is smaller
    than the image is taken, and without one the image stays as it is.
    """

    words: ClassVar[int] = 23  # one for whether, two for each rectangle's shape, two for its place
    op: Literal["random_erasing"] = "random_erasing"
    p: Probability = 0.5
    scale: Annotated[tuple[Probability, Probability], Strict(False)] = (0.02, 0.33)
    ratio: Annotated[tuple[Ratio, Ratio], Strict(False)] = (0.3, 3.3)
    value: PixelOrPixels = 0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for key in ("scale", "ratio"):
            low, high = getattr(self, key)
            if low > high:
                raise ValueError(f"{key}: the smaller one comes first")
        return self

    def output_shape(self, shape: Shape) -> Shape:
        """The same, where `value` has one for each channel."""
        return _with_channels(shape, "value", self.value)


@AUGMENTS.register
@frozen
class Cutout:
    """Sets a square to `value`; its centre is any pixel, and what lies outside the image is cut off.

    T. DeVries, G. Taylor: Improved Regularization of Convolutional Neural Networks with Cutout, 2017. Of an
    even `size` the centre is the pixel right of and below the middle. torchvision has no such transform.
    """

    words: ClassVar[int] = 2
    op: Literal["cutout"] = "cutout"
    size: Side
    value: PixelOrPixels = 0

    def output_shape(self, shape: Shape) -> Shape:
        """The same, where `value` has one for each channel."""
        return _with_channels(shape, "value", self.value)


@AUGMENTS.register
@frozen
class ColorJitter:
    """Changes brightness, contrast, saturation and hue by uniform factors, in a drawn order.

    A number f of the first three means factors between max(0, 1 - f) and 1 + f, of hue a shift between -f
    and f of a whole turn; two numbers are the range itself. Of grey images saturation and hue are left alone.
    """

    words: ClassVar[int] = 5  # the order, and a factor for each
    op: Literal["color_jitter"] = "color_jitter"
    brightness: Factor | Range = 0.0
    contrast: Factor | Range = 0.0
    saturation: Factor | Range = 0.0
    hue: Hue = 0.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for key, (low, high) in self.ranges.items():
            if low > high:
                raise ValueError(f"{key}: the smaller factor comes first")
        return self

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The smallest and the largest factor of each change that may happen, by its name."""
        given = {
            "brightness": _around_one(self.brightness),
            "contrast": _around_one(self.contrast),
            "saturation": _around_one(self.saturation),
            "hue": self.hue if isinstance(self.hue, tuple) else (-self.hue, self.hue),
        }
        return {key: span for key, span in given.items() if span != ((0, 0) if key == "hue" else (1, 1))}

    def output_shape(self, shape: Shape) -> Shape:
        """The same; `ShapeError` where the image is neither grey nor of three colours."""
        if shape[0] not in (1, 3):
            raise ShapeError(f"op = {self.op!r}: takes images of 1 or 3 channels, not {shape[0]}")
        return shape


def _around_one(given: float | tuple[float, float]) -> tuple[float, float]:
    return given if isinstance(given, tuple) else (max(0.0, 1 - given), 1 + given)


def _with_channels(shape: Shape, key: str, values: int | tuple[int, ...]) -> Shape:
    if isinstance(values, tuple) and len(values) not in (1, shape[0]):
        raise ShapeError(f"{key} = {list(values)}: give one value, or {shape[0]}, one for each channel")
    return shape
