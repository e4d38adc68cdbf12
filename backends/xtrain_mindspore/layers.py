"""The lowering table: an entry for each layer of the vocabulary, with its term. Using one loads MindSpore."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xtrain.plugins import Lazy
from xtrain.spec import Lowerings, Node, Term, added, masked
from xtrain.spec import layers as spec

if TYPE_CHECKING:
    from mindspore import nn
    from mindspore.ops import operations as P

    from xtrain_mindspore import modules
else:
    nn, P = Lazy("mindspore.nn"), Lazy("mindspore.ops.operations")
    modules = Lazy("xtrain_mindspore.modules")

_UNDRAWN = {"weight_init": "zeros", "bias_init": "zeros"}  # no weights are drawn, they come by load


def _pool(node: Node) -> str:
    """Arguments of a pool."""
    layer: Any = node.layer
    mode = f'"pad", padding={layer.padding}' if layer.padding else '"valid"'
    return f"({layer.kernel_size}, {layer.step}, {mode})"


def _max_pool2d(node: Node, layer: spec.MaxPool2d) -> nn.Cell:
    """P.MaxPoolWithArgmax, which takes no padding; else nn.MaxPool2d, a slower kernel both ways."""
    if layer.padding:
        return nn.MaxPool2d(layer.kernel_size, layer.step, "pad", layer.padding)
    return modules.MaxPool2d(layer.kernel_size, layer.step)


def _window(node: Node) -> tuple[int, int] | None:
    """Height and width of a cell of the grid of an adaptive pool, where all cells are alike."""
    (_, height, width), size = node.input_shape, node.output_shape[1]
    return None if height % size or width % size else (height // size, width // size)


def _adaptive(node: Node) -> str:
    size, window = node.output_shape[1], _window(node)
    return f"nn.AvgPool2d({window}, stride={window})" if window else f"nn.AdaptiveAvgPool2d({size})"


def _adaptive_avg_pool2d(node: Node, layer: spec.AdaptiveAvgPool2d) -> nn.Cell:
    """nn.AvgPool2d where all cells of the grid are alike, which is twice as fast."""
    window = _window(node)
    return nn.AvgPool2d(window, window) if window else nn.AdaptiveAvgPool2d(layer.output_size)


_TABLE: dict[type, tuple[Term, Callable[[Node, Any], nn.Cell]]] = {
    spec.Conv2d: (  # its own defaults are 'same' padding and no bias
        "nn.Conv2d({node.input_shape[0]}, {out_channels}, kernel_size={kernel_size}, "
        'stride={stride}, pad_mode="pad", padding={padding}, has_bias={bias})',
        lambda node, layer: nn.Conv2d(
            node.input_shape[0],
            layer.out_channels,
            layer.kernel_size,
            layer.stride,
            "pad",
            layer.padding,
            has_bias=layer.bias,
            **_UNDRAWN,
        ),
    ),
    spec.Linear: (
        "nn.Dense({node.input_shape[0]}, {out_features}, has_bias={bias})",
        lambda node, layer: nn.Dense(
            node.input_shape[0], layer.out_features, has_bias=layer.bias, **_UNDRAWN
        ),
    ),
    spec.BatchNorm2d: (  # its momentum is the share of the old statistics
        "nn.BatchNorm2d({node.input_shape[0]}, eps={eps}, momentum=1 - {momentum})",
        lambda node, layer: modules.BatchNorm2d(node.input_shape[0], layer.eps, 1 - layer.momentum),
    ),
    spec.MaxPool2d: (
        lambda node: f"{'nn.MaxPool2d' if node.layer.padding else 'P.MaxPoolWithArgmax'}{_pool(node)}",
        _max_pool2d,
    ),
    spec.AvgPool2d: (
        lambda node: f"nn.AvgPool2d{_pool(node)}",
        lambda node, layer: nn.AvgPool2d(
            layer.kernel_size, layer.step, "pad" if layer.padding else "valid", layer.padding
        ),
    ),
    spec.AdaptiveAvgPool2d: (_adaptive, _adaptive_avg_pool2d),
    spec.LSTM: (
        "nn.LSTM({node.input_shape[1]}, {hidden_size}, num_layers={num_layers}, batch_first=True)",
        lambda node, layer: modules.LSTM(
            node.input_shape[1], layer.hidden_size, layer.num_layers, batch_first=True
        ),
    ),
    spec.Rows: (
        "x.transpose(0, 2, 1, 3).reshape(batch, height, -1)",
        lambda node, layer: modules.Function(modules.rows),
    ),
    spec.Last: ("x[:, -1]", lambda node, layer: modules.Function(modules.last)),
    spec.ReLU: ("nn.ReLU()", lambda node, layer: nn.ReLU()),
    spec.Flatten: ("P.Flatten()", lambda node, layer: modules.Function(P.Flatten())),  # compiles quicker
    spec.LogSoftmax: ("nn.LogSoftmax(axis=1)", lambda node, layer: nn.LogSoftmax(1)),
    spec.Dropout: (
        masked,
        lambda node, layer: modules.Dropout(layer.p, math.prod(node.input_shape), node.dropout),
    ),
    spec.Residual: (added, lambda node, layer: modules.Residual(node)),
}
LAYERS = Lowerings("mindspore", "layer", _TABLE)
lower: Callable[[Node], nn.Cell] = LAYERS.lower
