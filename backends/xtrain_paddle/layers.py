"""The lowering table: an entry for each layer of the vocabulary, with its term. Using one loads Paddle."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xtrain.plugins import Lazy
from xtrain.spec import Lowerings, Node
from xtrain.spec import layers as spec

if TYPE_CHECKING:
    from paddle import nn

    from xtrain_paddle import modules
else:
    nn, modules = Lazy("paddle.nn"), Lazy("xtrain_paddle.modules")

LAYERS: Lowerings[Callable[[Node, Any], nn.Layer]] = Lowerings("paddle", "layer")


def lower(node: Node) -> nn.Layer:
    """The Paddle layer for one layer in its place."""
    return LAYERS.of(node.layer, node.path)(node, node.layer)


@LAYERS.register(
    spec.Conv2d,
    "nn.Conv2D({node.input_shape[0]}, {out_channels}, kernel_size={kernel_size}, "
    "stride={stride}, padding={padding}, bias_attr={bias})",
)
def conv2d(node: Node, layer: spec.Conv2d) -> nn.Layer:
    """nn.Conv2D."""
    channels = node.input_shape[0]
    size, stride, padding = layer.kernel_size, layer.stride, layer.padding
    return modules.Conv2d(channels, layer.out_channels, size, stride, padding, bias_attr=layer.bias)


@LAYERS.register(
    spec.Linear, "nn.Linear({node.input_shape[0]}, {out_features}, bias_attr={bias}), weight [in, out]"
)
def linear(node: Node, layer: spec.Linear) -> nn.Layer:
    """nn.Linear, whose weight is [in, out]."""
    return nn.Linear(node.input_shape[0], layer.out_features, bias_attr=layer.bias)


@LAYERS.register(
    spec.BatchNorm2d, "F.batch_norm(epsilon={eps}, momentum=1 - {momentum}), running variance unbiased"
)
def batch_norm2d(node: Node, layer: spec.BatchNorm2d) -> nn.Layer:
    """F.batch_norm with PyTorch's running statistics."""
    return modules.BatchNorm2d(node.input_shape[0], layer.eps, layer.momentum)


@LAYERS.register(
    spec.MaxPool2d, "nn.MaxPool2D({kernel_size}, stride={layer.step}, padding={padding}, return_mask=True)[0]"
)
def max_pool2d(node: Node, layer: spec.MaxPool2d) -> nn.Layer:
    """nn.MaxPool2D with its mask."""
    return modules.MaxPool2d(layer.kernel_size, layer.step, layer.padding, return_mask=True)


@LAYERS.register(
    spec.AvgPool2d, "nn.AvgPool2D({kernel_size}, stride={layer.step}, padding={padding}, exclusive=False)"
)
def avg_pool2d(node: Node, layer: spec.AvgPool2d) -> nn.Layer:
    """nn.AvgPool2D, padded zeros counted."""
    return nn.AvgPool2D(layer.kernel_size, layer.step, layer.padding, exclusive=False)


@LAYERS.register(spec.LSTM, "nn.LSTM({node.input_shape[1]}, {hidden_size}, num_layers={num_layers})")
def lstm(node: Node, layer: spec.LSTM) -> nn.Layer:
    """nn.LSTM."""
    return modules.LSTM(node.input_shape[1], layer.hidden_size, layer.num_layers)


@LAYERS.register(spec.Dropout, lambda node: f"x * mask / {1 - node.layer.p:g}, the mask from the plan")
def dropout(node: Node, layer: spec.Dropout) -> nn.Layer:
    """Dropout whose mask comes from the plan."""
    return modules.Dropout(layer.p, node.dropout)


@LAYERS.register(spec.Residual, lambda node: f"body(x) + {'shortcut(x)' if node.shortcut else 'x'}")
def residual(node: Node, layer: spec.Residual) -> nn.Layer:
    """body(x) + shortcut(x)."""
    return modules.Residual(node)


@LAYERS.register(spec.AdaptiveAvgPool2d, "nn.AdaptiveAvgPool2D({output_size})")
def adaptive_avg_pool2d(node: Node, layer: spec.AdaptiveAvgPool2d) -> nn.Layer:
    """nn.AdaptiveAvgPool2D."""
    return nn.AdaptiveAvgPool2D(layer.output_size)


LAYERS.register(spec.ReLU, "nn.ReLU()")(lambda node, layer: nn.ReLU())
LAYERS.register(spec.Flatten, "nn.Flatten()")(lambda node, layer: nn.Flatten())
LAYERS.register(spec.LogSoftmax, "z - logsumexp(z), z = x - max")(lambda node, layer: modules.LogSoftmax())
LAYERS.register(spec.Rows, "x.transpose([0, 2, 1, 3]).flatten(2)")(lambda node, layer: modules.Rows())
LAYERS.register(spec.Last, "x[:, -1]")(lambda node, layer: modules.Last())
