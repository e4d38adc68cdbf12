"""The closed vocabulary of layers: each infers its output shape and knows its tensors and multiply-adds.

Shapes leave out the batch axis: an image is `(channels, height, width)`, a vector `(features,)`.
Semantics and default initial weights are those PyTorch documents for the layer of the same name.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, Strict

from xtrain.spec.base import Count, Depth, Fraction, NonNegativeInt, Positive, frozen
from xtrain.spec.tensors import Init, Shape, ShapeError, TensorSpec, drawn, format_shape


@frozen
class Layer:
    """What every layer has: a name unique among its siblings (given by the model where it is left out)."""

    name: Annotated[str, Field(pattern=r"^([^\W_]\w*(\.[^\W_]\w*)*)?$")] = ""

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


def _image(layer: Layer, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ShapeError(f"takes an image (channels, height, width), not {format_shape(shape)}")
    return shape[0], shape[1], shape[2]


def _window(size: int, kernel: int, stride: int, padding: int) -> int:
    out = (size + 2 * padding - kernel) // stride + 1
    if size + 2 * padding < kernel:
        raise ShapeError(f"a window of {kernel} does not fit into {size} pixels with padding {padding}")
    return out


def _padded(shape: Shape, padding: int) -> int:
    channels, height, width = shape
    return channels * (height + 2 * padding) * (width + 2 * padding)


@frozen
class Conv2d(Layer):
    """2-D cross-correlation with square kernels; weight [out, in, kernel, kernel]."""

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
        _, height, width = _image(self, shape)
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


@frozen
class Linear(Layer):
    """`x @ weight.T + bias`; weight [out, in]."""

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


@frozen
class BatchNorm2d(Layer):
    """Normalises each channel over batch and positions; running statistics as PyTorch keeps them.

    `running = (1 - momentum) * running + momentum * batch`, the running variance unbiased (n / (n - 1)).
    """

    op: Literal["batch_norm2d"] = "batch_norm2d"
    eps: Positive = 1e-5
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.1

    def output_shape(self, shape: Shape) -> Shape:
        """The shape it is given."""
        return _image(self, shape)

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


@frozen
class ReLU(Layer):
    """max(x, 0), with gradient 0 at 0."""

    op: Literal["relu"] = "relu"


@frozen
class _Pool(Layer):
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
        channels, height, width = _image(self, shape)
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


@frozen
class MaxPool2d(_Pool):
    """Largest value of each window; among equals the first, row by row, takes the gradient."""

    op: Literal["max_pool2d"] = "max_pool2d"


@frozen
class AvgPool2d(_Pool):
    """Mean of each window; padded zeros count."""

    op: Literal["avg_pool2d"] = "avg_pool2d"


@frozen
class AdaptiveAvgPool2d(Layer):
    """Means over a grid of `output_size` squared cells: floor(i*n/m) up to ceil((i+1)*n/m)."""

    op: Literal["adaptive_avg_pool2d"] = "adaptive_avg_pool2d"
    output_size: Count = 1

    def output_shape(self, shape: Shape) -> Shape:
        """(channels, output_size, output_size)."""
        return (_image(self, shape)[0], self.output_size, self.output_size)


@frozen
class Dropout(Layer):
    """In training, zeroes each element with probability `p` and scales the rest by 1/(1-p)."""

    op: Literal["dropout"] = "dropout"
    p: Fraction = 0.5


@frozen
class Flatten(Layer):
    """(channels, height, width) to one vector, channels slowest."""

    op: Literal["flatten"] = "flatten"

    def output_shape(self, shape: Shape) -> Shape:
        """One axis of all elements."""
        return (math.prod(shape),)


@frozen
class LogSoftmax(Layer):
    """z - logsumexp(z): log-probabilities, which the loss `nll` takes."""

    op: Literal["log_softmax"] = "log_softmax"

    def output_shape(self, shape: Shape) -> Shape:
        """The shape it is given."""
        if len(shape) != 1:
            raise ShapeError(f"takes a vector, not {format_shape(shape)}: put a flatten before it")
        return shape


@frozen
class Rows(Layer):
    """An image as a sequence of its rows: (channels, height, width) to (height, channels * width)."""

    op: Literal["rows"] = "rows"

    def output_shape(self, shape: Shape) -> Shape:
        """(steps, features)."""
        channels, height, width = _image(self, shape)
        return (height, channels * width)


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


@frozen
class Last(Layer):
    """The last step of a sequence: (steps, features) to (features,)."""

    op: Literal["last"] = "last"

    def output_shape(self, shape: Shape) -> Shape:
        """(features,)."""
        if len(shape) != 2:
            raise ShapeError(f"takes a sequence (steps, features), not {format_shape(shape)}")
        return shape[1:]


@frozen
class Residual(Layer):
    """`body(x) + shortcut(x)`; an empty shortcut is the identity."""

    op: Literal["residual"] = "residual"
    body: Annotated[tuple["AnyLayer", ...], Strict(False)]
    shortcut: Annotated[tuple["AnyLayer", ...], Strict(False)] = ()

    # Its shapes and tensors come from its parts, which xtrain.spec.model places one by one.


AnyLayer = Annotated[
    Conv2d
    | Linear
    | BatchNorm2d
    | ReLU
    | MaxPool2d
    | AvgPool2d
    | AdaptiveAvgPool2d
    | Dropout
    | Flatten
    | LogSoftmax
    | Rows
    | LSTM
    | Last
    | Residual,
    Field(discriminator="op"),
]
