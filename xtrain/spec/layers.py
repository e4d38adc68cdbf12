"""The vocabulary of layers: each infers its output shape and knows its tensors and multiply-adds.

Shapes leave out the batch axis: an image is `(channels, height, width)`, a vector `(features,)`.
Semantics and default initial weights are those PyTorch documents for the layer of the same name.
"""

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, Strict

from xtrain.spec.base import Count, Depth, Fraction, NonNegativeInt, Positive, frozen
from xtrain.spec.layer import LAYERS, AnyLayer, Layer, image_shape
from xtrain.spec.tensors import Init, Shape, ShapeError, TensorSpec, drawn, format_shape


def _window(size: int, kernel: int, stride: int, padding: int) -> int:
    out = (size + 2 * padding - kernel) // stride + 1
    if size + 2 * padding < kernel:
        raise ShapeError(f"a window of {kernel} does not fit into {size} pixels with padding {padding}")
    return out


def _padded(shape: Shape, padding: int) -> int:
    channels, height, width = shape
    return channels * (height + 2 * padding) * (width + 2 * padding)


@LAYERS.register
@frozen
class Conv2d(Layer):
    """2-D cross-correlation with square kernels; weight [out, in, kernel, kernel]."""

    short: ClassVar[str] = "conv"
    op: Literal["conv2d"] = "conv2d"
    out_channels: Count
    kernel_size: Count
    stride: Count = 1
    padding: NonNegativeInt = 0
    bias: bool = True
    init: Init = "default"

    @property
    def window(self) -> tuple[int, int, int]:
        """Kernel size, stride and padding: in this order every framework takes them."""
        return self.kernel_size, self.stride, self.padding

    def output_shape(self, shape: Shape) -> Shape:
        """(out_channels, height, width) after the windows."""
        _, height, width = image_shape(shape)
        windows = (_window(n, self.kernel_size, self.stride, self.padding) for n in (height, width))
        return (self.out_channels, *windows)

    def tensors(self, shape: Shape) -> Mapping[str, TensorSpec]:
        """Weight and bias."""
        weight = (self.out_channels, shape[0], self.kernel_size, self.kernel_size)
        return drawn(self.init, weight, self.bias)

    def multiply_adds(self, shape: Shape) -> int:
        """Every parameter once per output position."""
        positions = math.prod(self.output_shape(shape)[1:])
        return positions * sum(tensor.size for tensor in self.tensors(shape).values())

    def working(self, shape: Shape) -> int:
        """The padded image."""
        return _padded(shape, self.padding)

    def unfolded(self, shape: Shape) -> int:
        """A window of all input channels for each output position."""
        return shape[0] * self.kernel_size**2 * math.prod(self.output_shape(shape)[1:])


@LAYERS.register
@frozen
class Linear(Layer):
    """`x @ weight.T + bias`; weight [out, in]."""

    short: ClassVar[str] = "fc"
    op: Literal["linear"] = "linear"
    out_features: Count
    bias: bool = True
    init: Init = "default"

    def output_shape(self, shape: Shape) -> Shape:
        """(out_features,)."""
        if len(shape) != 1:
            raise ShapeError(f"takes a vector, not {format_shape(shape)}: put a flatten before it")
        return (self.out_features,)

    def tensors(self, shape: Shape) -> Mapping[str, TensorSpec]:
        """Weight and bias."""
        return drawn(self.init, (self.out_features, shape[0]), self.bias)

    def multiply_adds(self, shape: Shape) -> int:
        """Every parameter once."""
        return sum(tensor.size for tensor in self.tensors(shape).values())


@LAYERS.register
@frozen
class BatchNorm2d(Layer):
    """Normalises each channel over batch and positions; running statistics as PyTorch keeps them.

    `running = (1 - momentum) * running + momentum * batch`, the running variance unbiased (n / (n - 1)).
    """

    short: ClassVar[str] = "bn"
    op: Literal["batch_norm2d"] = "batch_norm2d"
    eps: Positive = 1e-5
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.1

    def output_shape(self, shape: Shape) -> Shape:
        """The shape it is given."""
        return image_shape(shape)

    def tensors(self, shape: Shape) -> Mapping[str, TensorSpec]:
        """Scale 1 and shift 0, running mean 0 and variance 1."""
        channels = (shape[0],)
        return {
            "weight": TensorSpec(channels, fill=1.0),
            "bias": TensorSpec(channels),
            "running_mean": TensorSpec(channels, trainable=False),
            "running_var": TensorSpec(channels, fill=1.0, trainable=False),
        }

    def multiply_adds(self, shape: Shape) -> int:
        """Scale and shift once per channel, as torchinfo has it."""
        return 2 * shape[0]


@LAYERS.register
@frozen
class ReLU(Layer):
    """max(x, 0), with gradient 0 at 0."""

    op: Literal["relu"] = "relu"


@frozen
class _Pool(Layer):
    short: ClassVar[str] = "pool"
    kernel_size: Count
    stride: Count | None = None
    padding: NonNegativeInt = 0

    @property
    def step(self) -> int:
        """The stride in force: `kernel_size` where none is given."""
        return self.stride or self.kernel_size

    @property
    def window(self) -> tuple[int, int, int]:
        """Kernel size, stride and padding: in this order every framework takes them."""
        return self.kernel_size, self.step, self.padding

    def output_shape(self, shape: Shape) -> Shape:
        """(channels, height, width) after the windows; a last incomplete window is dropped."""
        channels, height, width = image_shape(shape)
        if self.padding > self.kernel_size // 2:
            raise ShapeError(f"padding {self.padding} is more than half of kernel_size {self.kernel_size}")
        windows = (_window(n, self.kernel_size, self.step, self.padding) for n in (height, width))
        return (channels, *windows)

    def working(self, shape: Shape) -> int:
        """The padded image."""
        return _padded(shape, self.padding)

    def unfolded(self, shape: Shape) -> int:
        """A window for each element of the output."""
        return self.kernel_size**2 * math.prod(self.output_shape(shape))


@LAYERS.register
@frozen
class MaxPool2d(_Pool):
    """Largest value of each window; among equals the first, row by row, takes the gradient."""

    op: Literal["max_pool2d"] = "max_pool2d"


@LAYERS.register
@frozen
class AvgPool2d(_Pool):
    """Mean of each window; padded zeros count."""

    op: Literal["avg_pool2d"] = "avg_pool2d"


@LAYERS.register
@frozen
class AdaptiveAvgPool2d(Layer):
    """Means over a grid of `output_size` squared cells: floor(i*n/m) up to ceil((i+1)*n/m)."""

    short: ClassVar[str] = "pool"
    op: Literal["adaptive_avg_pool2d"] = "adaptive_avg_pool2d"
    output_size: Count = 1

    def output_shape(self, shape: Shape) -> Shape:
        """(channels, output_size, output_size)."""
        return (image_shape(shape)[0], self.output_size, self.output_size)


@LAYERS.register
@frozen
class Dropout(Layer):
    """In training, zeroes each element with probability `p` and scales the rest by 1/(1-p)."""

    op: Literal["dropout"] = "dropout"
    p: Fraction = 0.5


@LAYERS.register
@frozen
class Flatten(Layer):
    """(channels, height, width) to one vector, channels slowest."""

    op: Literal["flatten"] = "flatten"

    def output_shape(self, shape: Shape) -> Shape:
        """One axis of all elements."""
        return (math.prod(shape),)


@LAYERS.register
@frozen
class LogSoftmax(Layer):
    """z - logsumexp(z): log-probabilities, which the loss `nll` takes."""

    op: Literal["log_softmax"] = "log_softmax"

    def output_shape(self, shape: Shape) -> Shape:
        """The shape it is given."""
        if len(shape) != 1:
            raise ShapeError(f"takes a vector, not {format_shape(shape)}: put a flatten before it")
        return shape


@LAYERS.register
@frozen
class Rows(Layer):
    """An image as a sequence of its rows: (channels, height, width) to (height, channels * width)."""

    op: Literal["rows"] = "rows"

    def output_shape(self, shape: Shape) -> Shape:
        """(steps, features)."""
        channels, height, width = image_shape(shape)
        return (height, channels * width)


@LAYERS.register
@frozen
class LSTM(Layer):
    """Long short-term memory over a sequence, from the state zero; gates in the order i, f, g, o.

    c = sigmoid(f) * c + sigmoid(i) * tanh(g); h = sigmoid(o) * tanh(c), with
    [i f g o] = x @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh. The output is h of the last layer at
    every step.
    """

    op: Literal["lstm"] = "lstm"
    hidden_size: Count
    num_layers: Depth = 1

    def output_shape(self, shape: Shape) -> Shape:
        """(steps, hidden_size)."""
        if len(shape) != 2:
            raise ShapeError(f"takes a sequence (steps, features), not {format_shape(shape)}")
        return (shape[0], self.hidden_size)

    def tensors(self, shape: Shape) -> Mapping[str, TensorSpec]:
        """Of each layer weights [4 * hidden, in] and two biases, uniform within 1/sqrt(hidden_size)."""
        bound, gates = 1 / math.sqrt(self.hidden_size), 4 * self.hidden_size
        found: dict[str, TensorSpec] = {}
        for layer in range(self.num_layers):
            features = shape[1] if layer == 0 else self.hidden_size
            found |= {
                f"weight_ih_l{layer}": TensorSpec((gates, features), bound),
                f"weight_hh_l{layer}": TensorSpec((gates, self.hidden_size), bound),
                f"bias_ih_l{layer}": TensorSpec((gates,), bound),
                f"bias_hh_l{layer}": TensorSpec((gates,), bound),
            }
        return found

    def multiply_adds(self, shape: Shape) -> int:
        """Every parameter once at every step."""
        return shape[0] * sum(tensor.size for tensor in self.tensors(shape).values())

    def working(self, shape: Shape) -> int:
        """The gates of every step."""
        return shape[0] * 4 * self.hidden_size


@LAYERS.register
@frozen
class Last(Layer):
    """The last step of a sequence: (steps, features) to (features,)."""

    op: Literal["last"] = "last"

    def output_shape(self, shape: Shape) -> Shape:
        """(features,)."""
        if len(shape) != 2:
            raise ShapeError(f"takes a sequence (steps, features), not {format_shape(shape)}")
        return shape[1:]


@LAYERS.register
@frozen
class Residual(Layer):
    """`body(x) + shortcut(x)`; an empty shortcut is the identity."""

    short: ClassVar[str] = "block"
    op: Literal["residual"] = "residual"
    body: Annotated[tuple[AnyLayer, ...], Strict(False)]
    shortcut: Annotated[tuple[AnyLayer, ...], Strict(False)] = ()

    # Its shapes and tensors come from its parts, which xtrain.spec.model places one by one.
