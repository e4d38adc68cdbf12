"""The lowering table: one function for each layer of the vocabulary."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.autograd import PyLayer

from xtrain.errors import UnsupportedError
from xtrain.spec import ModelSpec, Node, keep_mask, pools_first
from xtrain.spec import layers as spec
from xtrain_paddle.recurrent import last, lstm, rows

Noise = tuple[int, ...]
"""Place of the first row in the whole batch, then a key for each dropout layer."""


def conv2d(node: Node, layer: spec.Conv2d) -> nn.Layer:
    """nn.Conv2D."""
    channels = node.input_shape[0]
    size, stride, padding = layer.kernel_size, layer.stride, layer.padding
    bias = None if layer.bias else False
    return Conv2d(channels, layer.out_channels, size, stride, padding, bias_attr=bias)


def linear(node: Node, layer: spec.Linear) -> nn.Layer:
    """nn.Linear, whose weight is [in, out]."""
    return nn.Linear(node.input_shape[0], layer.out_features, bias_attr=None if layer.bias else False)


def batch_norm2d(node: Node, layer: spec.BatchNorm2d) -> nn.Layer:
    """F.batch_norm with PyTorch's running statistics."""
    return BatchNorm2d(node.input_shape[0], layer.eps, layer.momentum)


def relu(node: Node, layer: spec.ReLU) -> nn.Layer:
    """nn.ReLU."""
    return nn.ReLU()


def max_pool2d(node: Node, layer: spec.MaxPool2d) -> nn.Layer:
    """F.max_pool2d with its mask."""
    return MaxPool2d(layer.kernel_size, layer.step, layer.padding)


def avg_pool2d(node: Node, layer: spec.AvgPool2d) -> nn.Layer:
    """nn.AvgPool2D, padded zeros counted."""
    return nn.AvgPool2D(layer.kernel_size, layer.step, layer.padding, exclusive=False)


def adaptive_avg_pool2d(node: Node, layer: spec.AdaptiveAvgPool2d) -> nn.Layer:
    """nn.AdaptiveAvgPool2D."""
    return nn.AdaptiveAvgPool2D(layer.output_size)


def flatten(node: Node, layer: spec.Flatten) -> nn.Layer:
    """nn.Flatten."""
    return nn.Flatten()


def dropout(node: Node, layer: spec.Dropout) -> nn.Layer:
    """Dropout whose mask comes from the plan."""
    return Dropout(layer.p, node.dropout)


def log_softmax(node: Node, layer: spec.LogSoftmax) -> nn.Layer:
    """z - logsumexp(z)."""
    return LogSoftmax()


def residual(node: Node, layer: spec.Residual) -> nn.Layer:
    """body(x) + shortcut(x)."""
    return Residual(node)


TABLE: dict[type[spec.Layer], Callable[[Node, Any], nn.Layer]] = {
    spec.Conv2d: conv2d,
    spec.Linear: linear,
    spec.BatchNorm2d: batch_norm2d,
    spec.ReLU: relu,
    spec.MaxPool2d: max_pool2d,
    spec.AvgPool2d: avg_pool2d,
    spec.AdaptiveAvgPool2d: adaptive_avg_pool2d,
    spec.Flatten: flatten,
    spec.Dropout: dropout,
    spec.LogSoftmax: log_softmax,
    spec.Rows: rows,
    spec.LSTM: lstm,
    spec.Last: last,
    spec.Residual: residual,
}


def lower(node: Node) -> nn.Layer:
    """The layer for one layer in its place."""
    kind = type(node.layer)
    if kind not in TABLE:
        raise UnsupportedError(f"backend paddle has no lowering for layer {node.path} ({kind.__name__})")
    return TABLE[kind](node, node.layer)


class Chain(nn.Layer):
    """Layers one after the other, each registered under its canonical name."""

    def __init__(self, model: ModelSpec) -> None:
        super().__init__()
        self._chain = attach_all(self, model.nodes, prefix="")

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """Outputs [B, ...]; `noise` is what dropout masks come from in training."""
        return run(self._chain, x, noise)


class Residual(nn.Layer):
    """body(x) + shortcut(x); an empty shortcut is the identity."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        prefix = f"{node.path}."
        self._body = attach_all(self, node.body, prefix)
        self._shortcut = attach_all(self, node.shortcut, prefix)

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """Outputs of the body's shape."""
        return run(self._body, x, noise) + run(self._shortcut, x, noise)


class Conv2d(nn.Conv2D):
    """nn.Conv2D, with a quicker way to its bias on the CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [B, out_channels, H, W]."""
        if self.bias is None or not x.place.is_cpu_place():
            return super().forward(x)
        outputs: Tensor = AddBias.apply(  # type: ignore[no-untyped-call]  # Paddle gives it no types
            F.conv2d(x, self.weight, None, self._stride, self._padding), self.bias
        )
        return outputs


class AddBias(PyLayer):
    """x [B, C, H, W] + bias [C] as matrix products.

    Paddle's broadcast addition and its gradient take 30 of the 66 ms of a SimpleCNN's step, these 2.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor) -> Tensor:
        """Write into x: a convolution's gradient does not need what it gave."""
        batch, channels, height, width = x.shape
        rows = x.reshape([batch * channels, height * width])
        rows.addmm_(bias.tile([batch]).unsqueeze(1), paddle.ones([1, height * width]))
        return rows.reshape(x.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Sum over positions, then over the batch."""
        batch, channels, height, width = gradient.shape
        rows = gradient.reshape([batch * channels, height * width])
        sums = paddle.mv(rows, paddle.ones([height * width]))
        return gradient, sums.reshape([batch, channels]).sum(0)


class MaxPool2d(nn.Layer):
    """F.max_pool2d that keeps where each maximum was found."""

    def __init__(self, kernel_size: int, stride: int, padding: int) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [B, C, H, W]."""
        # Without the mask the gradient looks for the maxima anew, at twice the time.
        outputs, _ = F.max_pool2d(x, self.kernel_size, self.stride, self.padding, return_mask=True)
        return outputs


class BatchNorm2d(nn.Layer):
    """F.batch_norm; names of the running statistics and the variance in them are PyTorch's."""

    def __init__(self, channels: int, eps: float, momentum: float) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = self.create_parameter([channels])
        self.bias = self.create_parameter([channels], is_bias=True)
        self.register_buffer("running_mean", paddle.zeros([channels]))
        self.register_buffer("running_var", paddle.ones([channels]))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [B, C, H, W]; in training the running statistics move."""
        if not self.training:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, epsilon=self.eps
            )
        count = x.size // x.shape[1]
        if count == 1:
            raise ValueError(f"batch norm needs more than 1 value per channel in training, got {[*x.shape]}")
        # Without momentum, what comes out as running statistics is the batch's own.
        mean, variance = paddle.zeros_like(self.running_mean), paddle.zeros_like(self.running_var)
        y = F.batch_norm(
            x, mean, variance, self.weight, self.bias, training=True, momentum=0.0, epsilon=self.eps
        )
        with paddle.no_grad():
            self._move(mean, self._unbiased(x, variance, count))
        return y

    def _move(self, mean: Tensor, variance: Tensor) -> None:
        for running, batch in ((self.running_mean, mean), (self.running_var, variance)):
            running.scale_(1 - self.momentum).add_(batch * self.momentum)

    def _unbiased(self, x: Tensor, variance: Tensor, count: int) -> Tensor:
        if x.place.is_cpu_place():
            return variance * (count / (count - 1))
        # Of the GPU's kernels some give it unbiased and some do not.
        return x.var(axis=[0, 2, 3], unbiased=True)


class LogSoftmax(nn.Layer):
    """nn.LogSoftmax, but without its floor at -64."""

    def forward(self, x: Tensor) -> Tensor:
        """Log-probabilities [B, F]."""
        return log_probabilities(x)


def log_probabilities(logits: Tensor) -> Tensor:
    """[B, K] each; written out, because F.log_softmax does not go below -64.

    The largest logit is taken off first, which keeps the digits of small losses and changes no gradient.
    """
    shifted = logits - logits.detach().max(1, keepdim=True)
    return shifted - paddle.logsumexp(shifted, 1, keepdim=True)


class Dropout(nn.Layer):
    """x * mask / (1 - p), with the mask of `xtrain.spec.dropout`."""

    def __init__(self, p: float, index: int) -> None:
        super().__init__()
        self.p, self.index = p, index  # among the model's dropout layers

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """In evaluation mode, or without noise, the identity."""
        if not self.training or noise is None:
            return x
        first_row, *keys = noise
        # NumPy is quicker at it than Paddle's integer kernels on the CPU, and the mask is there in time.
        kept = keep_mask(keys[self.index], self.p, tuple(x.shape), first_row)
        return x * paddle.to_tensor(kept * np.float32(1 / (1 - self.p)), place=x.place)


def attach_all(parent: nn.Layer, nodes: Sequence[Node], prefix: str) -> tuple[nn.Layer, ...]:
    """Lower layers and register them below `parent`; they come in the order in which they run."""
    return tuple(attach(parent, node, prefix) for node in pools_first(nodes))


def attach(parent: nn.Layer, node: Node, prefix: str) -> nn.Layer:
    """Lower a node and register it below `parent`; a dot in its name makes a container."""
    layer = lower(node)
    *containers, name = node.path.removeprefix(prefix).split(".")
    for container in containers:
        if container not in dict(parent.named_children()):
            parent.add_sublayer(container, nn.Layer())
        parent = sublayer(parent, container)
    parent.add_sublayer(name, layer)
    return layer


def sublayer(parent: nn.Layer, path: str) -> Any:
    """The layer below `parent` that `path` names, such as `layer1.0.conv1`."""
    return functools.reduce(lambda layer, name: dict(layer.named_children())[name], path.split("."), parent)


def run(layers: Sequence[nn.Layer], x: Tensor, noise: Noise | None) -> Tensor:
    """Pass x through the layers; those that draw get the noise as well."""
    for layer in layers:
        x = layer(x, noise) if isinstance(layer, Dropout | Residual) else layer(x)
    return x
