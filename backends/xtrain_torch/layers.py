"""The lowering table: an entry for each layer of the vocabulary, with its term. Using one loads torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xtrain.plugins import Lazy
from xtrain.spec import Lowerings, Node, Term, added, masked
from xtrain.spec import layers as spec

if TYPE_CHECKING:
    from torch import nn

    from xtrain_torch import modules
else:
    nn, modules = Lazy("torch.nn"), Lazy("xtrain_torch.modules")

_TABLE: dict[type, tuple[Term, Callable[[Node, Any], nn.Module]]] = {
    spec.Conv2d: (
        "nn.Conv2d({node.input_shape[0]}, {out_channels}, kernel_size={kernel_size}, "
        "stride={stride}, padding={padding}, bias={bias})",
        lambda node, layer: nn.Conv2d(  # type: ignore[misc]  # a window is three numbers
            node.input_shape[0], layer.out_channels, *layer.window, bias=layer.bias
        ),
    ),
    spec.Linear: (
        "nn.Linear({node.input_shape[0]}, {out_features}, bias={bias})",
        lambda node, layer: nn.Linear(node.input_shape[0], layer.out_features, bias=layer.bias),
    ),
    spec.BatchNorm2d: (
        "nn.BatchNorm2d({node.input_shape[0]}, eps={eps}, momentum={momentum})",
        lambda node, layer: nn.BatchNorm2d(node.input_shape[0], layer.eps, layer.momentum),
    ),
    spec.MaxPool2d: (
        "nn.MaxPool2d({kernel_size}, stride={layer.step}, padding={padding})",
        lambda node, layer: nn.MaxPool2d(*layer.window),
    ),
    spec.AvgPool2d: (
        "nn.AvgPool2d({kernel_size}, stride={layer.step}, padding={padding})",
        lambda node, layer: nn.AvgPool2d(*layer.window),
    ),
    spec.AdaptiveAvgPool2d: (
        "nn.AdaptiveAvgPool2d({output_size})",
        lambda node, layer: nn.AdaptiveAvgPool2d(layer.output_size),
    ),
    spec.LSTM: (
        "nn.LSTM({node.input_shape[1]}, {hidden_size}, num_layers={num_layers}, batch_first=True)",
        lambda node, layer: modules.LSTM(
            node.input_shape[1], layer.hidden_size, layer.num_layers, batch_first=True
        ),
    ),
    spec.Rows: (
        "x.transpose(1, 2).flatten(2)",
        lambda node, layer: modules.Function(lambda x: x.transpose(1, 2).flatten(2)),
    ),
    spec.Last: ("x[:, -1]", lambda node, layer: modules.Function(lambda x: x[:, -1])),
    spec.ReLU: ("nn.ReLU()", lambda node, layer: nn.ReLU()),
    spec.Flatten: ("nn.Flatten()", lambda node, layer: nn.Flatten()),
    spec.LogSoftmax: ("nn.LogSoftmax(dim=1)", lambda node, layer: nn.LogSoftmax(dim=1)),
    spec.Dropout: (masked, lambda node, layer: modules.Dropout(layer.p, node.dropout)),
    spec.Residual: (added, lambda node, layer: modules.Residual(node)),
}
LAYERS = Lowerings("torch", "layer", _TABLE)
lower: Callable[[Node], nn.Module] = LAYERS.lower
