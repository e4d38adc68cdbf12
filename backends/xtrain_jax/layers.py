"""The lowering table: an entry for each layer of the vocabulary, with its term. Using one loads JAX.

A lowered layer is a pure function of a `Pass` and its input. Images are [B, H, W, C] in here: XLA's
convolutions and pools are quicker so on every device. The spec's own order is [B, C, H, W].
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from xtrain.plugins import Lazy
from xtrain.spec import Lowerings, Node, Term, added, masked
from xtrain.spec import layers as spec

if TYPE_CHECKING:
    import jax
    import jax.numpy as jnp
    from jax import Array, lax

    from xtrain_jax import modules
    from xtrain_jax.modules import Forward, Pass
else:
    jax, jnp, lax, modules = map(Lazy, ("jax", "jax.numpy", "jax.lax", "xtrain_jax.modules"))

Layer = Callable[[Node, Any, "Pass", "Array"], "Array"]
LAYERS: Lowerings[Layer] = Lowerings("jax", "layer")
"""Each takes a node and its layer, a pass and an input, and returns an output."""


def lower(node: Node) -> Forward:
    """A layer in its place."""
    return partial(LAYERS.of(node.layer, node.path), node, node.layer)


def _with_bias(term: str) -> Term:
    return lambda node: term.format(node.layer) + (" + bias" if node.layer.bias else "")


_WEIGHT = "weight[:{0.out_channels}, :, :{0.kernel_size}, :{0.kernel_size}]"


@LAYERS.register(
    spec.Conv2d, _with_bias(f"convolve(x, {_WEIGHT}, stride={{0.stride}}, padding={{0.padding}})")
)
def conv2d(node: Node, layer: spec.Conv2d, now: Pass, x: Array) -> Array:
    """Each output position: the sum over its window of input times weight [out, in, k, k]."""
    y = modules.convolve(now, x, now.of(node, "weight"), layer.window)
    return y + now.of(node, "bias") if layer.bias else y


@LAYERS.register(spec.Linear, _with_bias("x @ weight[:{0.out_features}].T"))
def linear(node: Node, layer: spec.Linear, now: Pass, x: Array) -> Array:
    """x @ weight.T + bias, weight [out, in]."""
    y = now.product(x, now.of(node, "weight").T)
    return y + now.of(node, "bias") if layer.bias else y


@LAYERS.register(
    spec.BatchNorm2d,
    "(x - mean) * lax.rsqrt(var + {eps}) * weight + bias; running += {momentum} * (batch - running)",
)
def batch_norm2d(node: Node, layer: spec.BatchNorm2d, now: Pass, x: Array) -> Array:
    """(x - mean) / sqrt(var + eps) * weight + bias by channel; only the running variance is unbiased."""
    weight, bias, mean, var = (now.tensors[name] for name in node.tensors)
    if now.noise is not None:
        count, running = x.size // x.shape[-1], (mean, var)
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        for name, old, new in zip(("mean", "var"), running, (mean, var * count / (count - 1)), strict=True):
            now.moved[f"{node.path}.running_{name}"] = old + layer.momentum * (new - old)
    return (x - mean) * lax.rsqrt(var + layer.eps) * weight + bias


@LAYERS.register(spec.ReLU, "nn.relu(x)")
def relu(node: Node, layer: spec.ReLU, now: Pass, x: Array) -> Array:
    """max(x, 0); the gradient at 0 is 0, where jnp.maximum gives a half."""
    return jax.nn.relu(x)


@LAYERS.register(
    spec.MaxPool2d, "windows(x, {kernel_size}, stride={layer.step}, padding={padding}), the first largest"
)
def max_pool2d(node: Node, layer: spec.MaxPool2d, now: Pass, x: Array) -> Array:
    """Largest of each window; the first among equals, row by row, takes the gradient."""
    return modules.largest(modules.windows(x, *layer.window, value=-np.inf))


@LAYERS.register(
    spec.AvgPool2d, "windows(x, {kernel_size}, stride={layer.step}, padding={padding}), their mean"
)
def avg_pool2d(node: Node, layer: spec.AvgPool2d, now: Pass, x: Array) -> Array:
    """Mean of each window, padded zeros included."""
    return sum(modules.windows(x, *layer.window), start=jnp.zeros(())) / layer.kernel_size**2


@LAYERS.register(spec.AdaptiveAvgPool2d, "cells of {output_size} by {output_size}, their means")
def adaptive_avg_pool2d(node: Node, layer: spec.AdaptiveAvgPool2d, now: Pass, x: Array) -> Array:
    """Mean of each cell; cell i of m over n pixels runs from floor(i*n/m) up to ceil((i+1)*n/m)."""
    down, across = (modules.cells(pixels, layer.output_size) for pixels in x.shape[1:3])
    return jnp.einsum("bhwc,ih,jw->bijc", x, down, across)


@LAYERS.register(spec.Flatten, "x.reshape(batch, -1)")
def flatten(node: Node, layer: spec.Flatten, now: Pass, x: Array) -> Array:
    """To [B, C*H*W], channels slowest."""
    return modules.canonical(x).reshape(len(x), -1)


@LAYERS.register(spec.Dropout, masked)
def dropout(node: Node, layer: spec.Dropout, now: Pass, x: Array) -> Array:
    """x * mask / (1 - p) in training, with the mask of `xtrain.spec.dropout`."""
    if now.noise is None:
        return x
    shape = (len(x), *node.input_shape)
    kept = modules.keep_mask(now.noise[1 + node.dropout], layer.p, shape, first_row=now.noise[0])
    return x * (modules.channels_last(kept) * np.float32(1 / (1 - layer.p)))


@LAYERS.register(spec.LogSoftmax, "nn.log_softmax(x)")
def log_softmax(node: Node, layer: spec.LogSoftmax, now: Pass, x: Array) -> Array:
    """z - logsumexp(z)."""
    return jax.nn.log_softmax(x)


@LAYERS.register(spec.Rows, "x.transpose(0, 2, 1, 3).reshape(batch, height, -1)")
def rows(node: Node, layer: spec.Rows, now: Pass, x: Array) -> Array:
    """An image to [B, H, C*W]."""
    return x.transpose(0, 1, 3, 2).reshape(*x.shape[:2], -1)


@LAYERS.register(
    spec.LSTM,
    "{num_layers} x lax.scan of c = sigmoid(f) * c + sigmoid(i) * tanh(g); h = sigmoid(o) * tanh(c), "
    "N = {hidden_size}",
)
def lstm(node: Node, layer: spec.LSTM, now: Pass, x: Array) -> Array:
    """[B, T, F] to [B, T, N], one layer over the outputs of the other."""
    for number in range(layer.num_layers):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        x = modules.lstm_layer(now, x, *(now.of(node, f"{name}_l{number}") for name in names))
    return x


@LAYERS.register(spec.Last, "x[:, -1]")
def last(node: Node, layer: spec.Last, now: Pass, x: Array) -> Array:
    """[B, T, F] to [B, F]: what comes at the last step."""
    return x[:, -1]


@LAYERS.register(spec.Residual, added)
def residual(node: Node, layer: spec.Residual, now: Pass, x: Array) -> Array:
    """body(x) + shortcut(x); an empty shortcut is the identity."""
    return modules.run(node.body, now, x) + modules.run(node.shortcut, now, x)
