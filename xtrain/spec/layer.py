"""What every layer has, and where layers are looked up."""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from xtrain.spec.base import frozen
from xtrain.spec.parts import Parts
from xtrain.spec.tensors import Shape, ShapeError, TensorSpec, format_shape


@frozen
class Layer:
    """What every layer has: a name unique among its siblings (given by the model where it is left out).

    `short` is what such a name begins with, where it is not `op`.
    """

    short: ClassVar[str] = ""
    name: Annotated[str, Field(pattern=r"^([^\W_]\w*(\.[^\W_]\w*)*)?$")] = ""

    @classmethod
    def examples(cls) -> Sequence[tuple["Layer", ...]]:
        """Layers that the conformance suite tries for a layer of another package.

        Each tuple stands between a convolution, which gives 4x9x7, and a flatten.
        """
        return [(cls(),)]

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output for an input of `shape`; `ShapeError` where there is none."""
        return shape

    def tensors(self, shape: Shape) -> Mapping[str, TensorSpec]:
        """Parameters and buffers by name, in PyTorch's order and layout."""
        return {}

    def multiply_adds(self, shape: Shape) -> int:
        """Multiply-adds for one sample; as torchinfo counts them, a bias counts as one."""
        return 0

    def working(self, shape: Shape) -> int:
        """How many numbers it keeps of each sample of a batch on the way to its output."""
        return 0

    def unfolded(self, shape: Shape) -> int:
        """How many numbers the windows of one sample hold, side by side for a matrix product."""
        return 0


LAYERS = Parts[Layer](
    "Layer",
    "xtrain.layers",
    "op",
    ("op", "name", "short", "output_shape", "tensors", "multiply_adds", "working", "unfolded"),
    base="Layer",
)
AnyLayer = Annotated[Layer, LAYERS]


def image_shape(shape: Shape) -> tuple[int, int, int]:
    """Channels, height and width; `ShapeError` where the shape is no image's."""
    if len(shape) != 3:
        raise ShapeError(f"takes an image (channels, height, width), not {format_shape(shape)}")
    return shape[0], shape[1], shape[2]
