"""The lowering table: an entry for each layer of the vocabulary, with its term. Using one loads Paddle."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xtrain.plugins import Lazy
from xtrain.spec import Lowerings, Node, Term, added, masked
from xtrain.spec import layers as spec
from xtrain_paddle.losses import log_probabilities

if TYPE_CHECKING:
    from paddle import nn

    from xtrain_paddle import modules
else:
    nn, modules = Lazy("paddle.nn"), Lazy("xtrain_paddle.modules")

_TABLE: dict[type, tuple[Term, Callable[[Node, Any], nn.Layer]]] = {
    spec.Conv2d: (
        "nn.Conv2D({node.input_shape[0]}, {out_channels}, kernel_size={kernel_size}, "
        "stride={stride}, padding={padding}, bias_attr={bias})",
        lambda node, layer: modules.Conv2d(
            node.input_shape[0], layer.out_channels, *layer.window, bias_attr=layer.bias
        ),
    ),
    spec.Linear: (
        "nn.Linear({node.input_shape[0]}, {out_features}, bias_attr={bias}), weight [in, out]",
        lambda node, layer: nn.Linear(node.input_shape[0], layer.out_features, bias_attr=layer.bias),
    ),
    spec.BatchNorm2d: (
        "F.batch_norm(epsilon={eps}, momentum=1 - {momentum}), running variance unbiased",
        lambda node, layer: modules.BatchNorm2d(node.input_shape[0], layer.eps, layer.momentum),
    ),
    spec.MaxPool2d: (
        "nn.MaxPool2D({kernel_size}, stride={layer.step}, padding={padding}, return_mask=True)[0]",
        lambda node, layer: modules.MaxPool2d(layer.kernel_size, layer.step, layer.padding, return_mask=True),
    ),
    spec.AvgPool2d: (  # padded zeros counted
        "nn.AvgPool2D({kernel_size}, stride={layer.step}, padding={padding}, exclusive=False)",
        lambda node, layer: nn.AvgPool2D(layer.kernel_size, layer.step, layer.padding, exclusive=False),
    ),
    spec.AdaptiveAvgPool2d: (
        "nn.AdaptiveAvgPool2D({output_size})",
        lambda node, layer: nn.AdaptiveAvgPool2D(layer.output_size),
    ),
    spec.LSTM: (
        "nn.LSTM({node.input_shape[1]}, {hidden_size}, num_layers={num_layers})",
        lambda node, layer: modules.LSTM(node.input_shape[1], layer.hidden_size, layer.num_layers),
    ),
    spec.Rows: (
        "x.transpose([0, 2, 1, 3]).flatten(2)",
        lambda node, layer: modules.Function(lambda x: x.transpose([0, 2, 1, 3]).flatten(2)),
    ),
    spec.Last: ("x[:, -1]", lambda node, layer: modules.Function(lambda x: x[:, -1])),
    spec.ReLU: ("nn.ReLU()", lambda node, layer: nn.ReLU()),
    spec.Flatten: ("nn.Flatten()", lambda node, layer: nn.Flatten()),
    spec.LogSoftmax: (  # nn.LogSoftmax has a floor at -64
        "z - logsumexp(z), z = x - max",
        lambda node, layer: modules.Function(log_probabilities),
    ),
    spec.Dropout: (masked, lambda node, layer: modules.Dropout(layer.p, node.dropout)),
    spec.Residual: (added, lambda node, layer: modules.Residual(node)),
}
LAYERS = Lowerings("paddle", "layer", _TABLE)
lower: Callable[[Node], nn.Layer] = LAYERS.lower
