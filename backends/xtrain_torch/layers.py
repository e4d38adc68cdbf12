"""The lowering table: an entry for each layer of the vocabulary, with its term. Using one loads torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xtrain.plugins import Lazy
from xtrain.spec import Lowerings, Node
from xtrain.spec import layers as spec

if TYPE_CHECKING:
    from torch import nn

    from xtrain_torch import modules
else:
    nn, modules = Lazy("torch.nn"), Lazy("xtrain_torch.modules")

LAYERS: Lowerings[Callable[[Node, Any], nn.Module]] = Lowerings("torch", "layer")


def lower(node: Node) -> nn.Module:
    """The module for one layer in its place."""
    return LAYERS.of(node.layer, node.path)(node, node.layer)


@LAYERS.register(
    spec.Conv2d,
    "nn.Conv2d({node.input_shape[0]}, {out_channels}, kernel_size={kernel_size}, "
    "stride={stride}, padding={padding}, bias={bias})",
)
def conv2d(node: Node, layer: spec.Conv2d) -> nn.Module:
    """nn.Conv2d."""
    channels = node.input_shape[0]
    size, stride, padding = layer.kernel_size, layer.stride, layer.padding
    return nn.Conv2d(channels, layer.out_channels, size, stride, padding, bias=layer.bias)


@LAYERS.register(spec.Linear, "nn.Linear({node.input_shape[0]}, {out_features}, bias={bias})")
def linear(node: Node, layer: spec.Linear) -> nn.Module:
    """nn.Linear."""
    return nn.Linear(node.input_shape[0], layer.out_features, bias=layer.bias)


@LAYERS.register(spec.BatchNorm2d, "nn.BatchNorm2d({node.input_shape[0]}, eps={eps}, momentum={momentum})")
def batch_norm2d(node: Node, layer: spec.BatchNorm2d) -> nn.Module:
    """nn.BatchNorm2d."""
    return nn.BatchNorm2d(node.input_shape[0], eps=layer.eps, momentum=layer.momentum)


@LAYERS.register(spec.MaxPool2d, "nn.MaxPool2d({kernel_size}, stride={layer.step}, padding={padding})")
def max_pool2d(node: Node, layer: spec.MaxPool2d) -> nn.Module:
    """nn.MaxPool2d."""
    return nn.MaxPool2d(layer.kernel_size, layer.step, layer.padding)


@LAYERS.register(spec.AvgPool2d, "nn.AvgPool2d({kernel_size}, stride={layer.step}, padding={padding})")
def avg_pool2d(node: Node, layer: spec.AvgPool2d) -> nn.Module:
    """nn.AvgPool2d."""
    return nn.AvgPool2d(layer.kernel_size, layer.step, layer.padding)


@LAYERS.register(
    spec.LSTM, "nn.LSTM({node.input_shape[1]}, {hidden_size}, num_layers={num_layers}, batch_first=True)"
)
def lstm(node: Node, layer: spec.LSTM) -> nn.Module:
    """nn.LSTM."""
    return modules.LSTM(node.input_shape[1], layer.hidden_size, layer.num_layers, batch_first=True)


@LAYERS.register(spec.Dropout, lambda node: f"x * mask / {1 - node.layer.p:g}, the mask from the plan")
def dropout(node: Node, layer: spec.Dropout) -> nn.Module:
    """Dropout whose mask comes from the plan."""
    return modules.Dropout(layer.p, node.dropout)


@LAYERS.register(spec.Residual, lambda node: f"body(x) + {'shortcut(x)' if node.shortcut else 'x'}")
def residual(node: Node, layer: spec.Residual) -> nn.Module:
    """body(x) + shortcut(x)."""
    return modules.Residual(node)


@LAYERS.register(spec.AdaptiveAvgPool2d, "nn.AdaptiveAvgPool2d({output_size})")
def adaptive_avg_pool2d(node: Node, layer: spec.AdaptiveAvgPool2d) -> nn.Module:
    """nn.AdaptiveAvgPool2d."""
    return nn.AdaptiveAvgPool2d(layer.output_size)


LAYERS.register(spec.ReLU, "nn.ReLU()")(lambda node, layer: nn.ReLU())
LAYERS.register(spec.Flatten, "nn.Flatten()")(lambda node, layer: nn.Flatten())
LAYERS.register(spec.LogSoftmax, "nn.LogSoftmax(dim=1)")(lambda node, layer: nn.LogSoftmax(dim=1))
LAYERS.register(spec.Rows, "x.transpose(1, 2).flatten(2)")(lambda node, layer: modules.Rows())
LAYERS.register(spec.Last, "x[:, -1]")(lambda node, layer: modules.Last())
