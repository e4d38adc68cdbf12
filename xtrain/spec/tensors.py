"""Shapes, and the tensors of a model's canonical state with their initial values."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a model's canonical state.

    Its initial value is `fill`, plus uniform(-bound, bound), plus normal(0, std): at most one of the two is
    not 0.
    """

    shape: Shape
    bound: float = 0.0
    std: float = 0.0
    fill: float = 0.0
    trainable: bool = True

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


class ShapeError(ValueError):
    """A layer that can't take the shape it is given."""


def format_shape(shape: Shape) -> str:
    """`3x32x32`, as the error messages and tables write a shape."""
    return "x".join(map(str, shape)) or "scalar"


def as_shape(given: Any, sides: int | None = None) -> Shape:
    """What is said to be a shape; `TypeError` where it is none, or has not so many sides."""
    whole = isinstance(given, tuple) and all(isinstance(side, int) for side in given)
    if whole and sides in (None, len(given)):
        found: Shape = given
        return found
    raise TypeError(f"{given!r:.80} is no shape{f' of {sides} numbers' if sides else ''}")


def from_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The same numbers as float32, of which a bfloat16 is the upper half."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


Init = Literal["default", "kaiming_normal", "normal"]
"""Initial weights: PyTorch's default for the layer (uniform within 1/sqrt(fan_in)); normal with variance
2/fan_out and bias 0, as torchvision has it for convolutions; normal with std 0.01 and bias 0, as its VGG has
it for linear layers."""


def drawn(init: Init, weight: Shape, bias: bool) -> dict[str, TensorSpec]:
    """Weight [out, in, ...] and bias [out]."""
    fan_in, fan_out = math.prod(weight[1:]), weight[0] * math.prod(weight[2:])
    bound = 1 / math.sqrt(fan_in) if init == "default" else 0.0
    std = {"default": 0.0, "kaiming_normal": math.sqrt(2 / fan_out), "normal": 0.01}[init]
    tensors = {"weight": TensorSpec(weight, bound, std)}
    return tensors | ({"bias": TensorSpec(weight[:1], bound)} if bias else {})
