"""The lowering table: an entry for each layer of the vocabulary, with its term. Using one loads MindSpore."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xtrain.plugins import Lazy
from xtrain.spec import Lowerings, Node
from xtrain.spec import layers as spec

if TYPE_CHECKING:
    from mindspore import nn

    from xtrain_mindspore import modules
else:
    nn, modules = Lazy("mindspore.nn"), Lazy("xtrain_mindspore.modules")

LAYERS: Lowerings[Callable[[Node, Any], nn.Cell]] = Lowerings("mindspore", "layer")
_UNDRAWN = {"weight_init": "zeros", "bias_init": "zeros"}  # no weights are drawn, they come by load


def lower(node: Node) -> nn.Cell:
    """The cell for one layer in its place."""
    return LAYERS.of(node.layer, node.path)(node, node.layer)


@LAYERS.register(
    spec.Conv2d,
    "nn.Conv2d({node.input_shape[0]}, {out_channels}, kernel_size={kernel_size}, "
    'stride={stride}, pad_mode="pad", padding={padding}, has_bias={bias})',
)
def conv2d(node: Node, layer: spec.Conv2d) -> nn.Cell:
    """nn.Conv2d, whose own defaults are 'same' padding and no bias."""
    channels = node.input_shape[0]
    size, stride, padding = layer.kernel_size, layer.stride, layer.padding
    return nn.Conv2d(
        channels, layer.out_channels, size, stride, "pad", padding, has_bias=layer.bias, **_UNDRAWN
    )


@LAYERS.register(spec.Linear, "nn.Dense({node.input_shape[0]}, {out_features}, has_bias={bias})")
def linear(node: Node, layer: spec.Linear) -> nn.Cell:
    """nn.Dense."""
    return nn.Dense(node.input_shape[0], layer.out_features, has_bias=layer.bias, **_UNDRAWN)


@LAYERS.register(
    spec.BatchNorm2d,
    lambda node: (
        f"nn.BatchNorm2d({node.input_shape[0]}, eps={node.layer.eps}, momentum={1 - node.layer.momentum:g})"
    ),
)
def batch_norm2d(node: Node, layer: spec.BatchNorm2d) -> nn.Cell:
    """nn.BatchNorm2d, whose momentum is the share of the old statistics."""
    return modules.BatchNorm2d(node.input_shape[0], eps=layer.eps, momentum=1 - layer.momentum)


def _pool(node: Node) -> str:
    """Arguments of a pool."""
    layer: Any = node.layer
    mode = f'"pad", padding={layer.padding}' if layer.padding else '"valid"'
    return f"({layer.kernel_size}, {layer.step}, {mode})"


@LAYERS.register(
    spec.MaxPool2d,
    lambda node: f"{'nn.MaxPool2d' if node.layer.padding else 'P.MaxPoolWithArgmax'}{_pool(node)}",
)
def max_pool2d(node: Node, layer: spec.MaxPool2d) -> nn.Cell:
    """P.MaxPoolWithArgmax, which takes no padding; else nn.MaxPool2d, a slower kernel both ways."""
    if layer.padding:
        return nn.MaxPool2d(layer.kernel_size, layer.step, "pad", layer.padding)
    return modules.MaxPool2d(layer.kernel_size, layer.step)


@LAYERS.register(spec.AvgPool2d, lambda node: f"nn.AvgPool2d{_pool(node)}")
def avg_pool2d(node: Node, layer: spec.AvgPool2d) -> nn.Cell:
    """nn.AvgPool2d."""
    mode = "pad" if layer.padding else "valid"
    return nn.AvgPool2d(layer.kernel_size, layer.step, mode, layer.padding)


def _window(node: Node) -> tuple[int, int] | None:
    """Height and width of a cell of the grid of an adaptive pool, where all cells are alike."""
    (_, height, width), size = node.input_shape, node.output_shape[1]
    return None if height % size or width % size else (height // size, width // size)


def _adaptive(node: Node) -> str:
    window = _window(node)
    return (
        f"nn.AvgPool2d({window}, stride={window})"
        if window
        else f"nn.AdaptiveAvgPool2d({node.output_shape[1]})"
    )


@LAYERS.register(spec.AdaptiveAvgPool2d, _adaptive)
def adaptive_avg_pool2d(node: Node, layer: spec.AdaptiveAvgPool2d) -> nn.Cell:
    """nn.AvgPool2d where all cells of the grid are alike, which is twice as fast."""
    window = _window(node)
    return nn.AvgPool2d(window, window) if window else nn.AdaptiveAvgPool2d(layer.output_size)


@LAYERS.register(
    spec.LSTM, "nn.LSTM({node.input_shape[1]}, {hidden_size}, num_layers={num_layers}, batch_first=True)"
)
def lstm(node: Node, layer: spec.LSTM) -> nn.Cell:
    """nn.LSTM, one fused kernel for each layer."""
    return modules.LSTM(node.input_shape[1], layer.hidden_size, layer.num_layers, batch_first=True)


@LAYERS.register(spec.Dropout, lambda node: f"x * mask / {1 - node.layer.p:g}, the mask from the plan")
def dropout(node: Node, layer: spec.Dropout) -> nn.Cell:
    """Dropout whose mask comes from the plan."""
    return modules.Dropout(layer.p, math.prod(node.input_shape), node.dropout)


@LAYERS.register(spec.Residual, lambda node: f"body(x) + {'shortcut(x)' if node.shortcut else 'x'}")
def residual(node: Node, layer: spec.Residual) -> nn.Cell:
    """body(x) + shortcut(x)."""
    return modules.Residual(node)


LAYERS.register(spec.ReLU, "nn.ReLU()")(lambda node, layer: nn.ReLU())
LAYERS.register(spec.Flatten, "P.Flatten()")(lambda node, layer: modules.Flatten())
LAYERS.register(spec.LogSoftmax, "nn.LogSoftmax(axis=1)")(lambda node, layer: nn.LogSoftmax(1))
LAYERS.register(spec.Rows, "x.transpose(0, 2, 1, 3).reshape(batch, height, -1)")(
    lambda node, layer: modules.Rows()
)
LAYERS.register(spec.Last, "x[:, -1]")(lambda node, layer: modules.Last())
