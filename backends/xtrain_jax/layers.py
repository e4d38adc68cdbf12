"""The lowering table: an entry for each layer of the vocabulary, with its term. Using one loads JAX.

Images are [B, H, W, C] in here: XLA's convolutions and pools are quicker so on every device. The spec's own
order is [B, C, H, W].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from xtrain.plugins import Lazy
from xtrain.spec import Lowerings, Node, Term, added, masked
from xtrain.spec import layers as spec

if TYPE_CHECKING:
    import jax
    from jax import Array

    from xtrain_jax import modules
    from xtrain_jax.modules import Pass
else:
    jax, modules = Lazy("jax"), Lazy("xtrain_jax.modules")

_TABLE: dict[type, tuple[Term, Callable[..., Array]]] = {
    spec.ReLU: ("nn.relu(x)", lambda node, layer, now, x: jax.nn.relu(x)),  # its gradient at 0 is 0
    spec.LogSoftmax: ("nn.log_softmax(x)", lambda node, layer, now, x: jax.nn.log_softmax(x)),
    spec.Flatten: ("x.reshape(batch, -1)", lambda node, layer, now, x: modules.flat(x)),
    spec.Last: ("x[:, -1]", lambda node, layer, now, x: x[:, -1]),
}
LAYERS = Lowerings("jax", "layer", _TABLE)
"""Each takes a node and its layer, a pass, an input and the layer's tensors, and returns an output: a pure
function but for `Pass.moved`."""


@LAYERS.register(
    spec.Conv2d,
    "convolve(x, weight[:{out_channels}, :, :{kernel_size}, :{kernel_size}], stride={stride}, "
    "padding={padding}, bias={bias})",
)
def conv2d(node: Node, layer: spec.Conv2d, now: Pass, x: Array, weight: Array, *bias: Array) -> Array:
    """Each output position: the sum over its window of input times weight [out, in, k, k]."""
    return modules.convolve(now, x, weight, layer.window) + sum(bias)


@LAYERS.register(spec.Linear, "x @ weight[:{out_features}].T, bias={bias}")
def linear(node: Node, layer: spec.Linear, now: Pass, x: Array, weight: Array, *bias: Array) -> Array:
    """x @ weight.T + bias, if there is one, weight [out, in]."""
    return now.product(x, weight.T) + sum(bias)


@LAYERS.register(
    spec.BatchNorm2d,
    "(x - mean) * lax.rsqrt(var + {eps}) * weight + bias; running += {momentum} * (batch - running)",
)
def batch_norm2d(node: Node, layer: spec.BatchNorm2d, now: Pass, x: Array, *tensors: Array) -> Array:
    """(x - mean) / sqrt(var + eps) * weight + bias by channel; only the running variance is unbiased."""
    weight, bias, mean, var = tensors
    if now.noise is not None:
        count = x.size // x.shape[-1]
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        batch = mean, var * count / (count - 1)
        for name, old, new in zip(list(node.tensors)[2:], tensors[2:], batch, strict=True):
            now.moved[name] = old + layer.momentum * (new - old)
    return (x - mean) * jax.lax.rsqrt(var + layer.eps) * weight + bias


@LAYERS.register(spec.MaxPool2d, "max(windows(x, {kernel_size}, stride={layer.step}, padding={padding}))")
def max_pool2d(node: Node, layer: spec.MaxPool2d, now: Pass, x: Array) -> Array:
    """Largest of each window; the first among equals, row by row, takes the gradient."""
    return modules.largest(modules.windows(x, *layer.window, outside=-np.inf))


@LAYERS.register(spec.AvgPool2d, "mean(windows(x, {kernel_size}, stride={layer.step}, padding={padding}))")
def avg_pool2d(node: Node, layer: spec.AvgPool2d, now: Pass, x: Array) -> Array:
    """Mean of each window, padded zeros included."""
    first, *others = modules.windows(x, *layer.window)
    return sum(others, start=first) / layer.kernel_size**2


@LAYERS.register(spec.AdaptiveAvgPool2d, "cells of {output_size} by {output_size}, their means")
def adaptive_avg_pool2d(node: Node, layer: spec.AdaptiveAvgPool2d, now: Pass, x: Array) -> Array:
    """Mean of each cell: the means down its columns, then across."""
    return modules.means(modules.means(x, 1, layer.output_size), 2, layer.output_size)


@LAYERS.register(spec.Dropout, masked)
def dropout(node: Node, layer: spec.Dropout, now: Pass, x: Array) -> Array:
    """x * mask / (1 - p) in training, with the mask of `xtrain.spec.dropout`."""
    if now.noise is None:
        return x
    kept = modules.keep_mask(now.noise[1 + node.dropout], layer.p, (len(x), *node.input_shape), now.noise[0])
    return x * (modules.channels_last(kept) * np.float32(1 / (1 - layer.p)))


@LAYERS.register(spec.Rows, "x.transpose(0, 2, 1, 3).reshape(batch, height, -1)")
def rows(node: Node, layer: spec.Rows, now: Pass, x: Array) -> Array:
    """An image to [B, H, C*W]."""
    return x.transpose(0, 1, 3, 2).reshape(*x.shape[:2], -1)


@LAYERS.register(
    spec.LSTM,
    "{num_layers} x lax.scan of c = sigmoid(f) * c + sigmoid(i) * tanh(g); h = sigmoid(o) * tanh(c), "
    "N = {hidden_size}",
)
def lstm(node: Node, layer: spec.LSTM, now: Pass, x: Array, *tensors: Array) -> Array:
    """[B, T, F] to [B, T, N], one layer over the outputs of the other, each with four tensors."""
    for first in range(0, len(tensors), 4):
        x = modules.lstm_layer(now, x, *tensors[first : first + 4])
    return x


@LAYERS.register(spec.Residual, added)
def residual(node: Node, layer: spec.Residual, now: Pass, x: Array) -> Array:
    """body(x) + shortcut(x); an empty shortcut is the identity."""
    return modules.run(node.body, now, x) + modules.run(node.shortcut, now, x)
