"""The lowering table: an entry for each layer of the vocabulary, its gradient beside it, with its term.

B batch, C channels, H and W height and width, T steps of a sequence, F features of a step, N hidden size.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from xtrain.spec import Array, Lowerings, Node, State, Term, added, keep_mask, masked
from xtrain.spec import layers as spec
from xtrain_numpy.modules import Backward, Forward, Noise, add_windows, lstm_layer, run, windows

LAYERS: Lowerings[Callable[[Node, Any], Forward]] = Lowerings("numpy", "layer")
lower: Callable[[Node], Forward] = LAYERS.lower

Result = tuple[Array, Backward]
Pass = Callable[[Node, Any, State, Array, Noise], Result]


def register(kind: type, term: Term) -> Callable[[Pass], Pass]:
    """Decorate a forward pass, which makes the lowering of `kind` once its node and layer are given."""

    def decorate(forward: Pass) -> Pass:
        LAYERS.register(kind, term)(lambda node, layer: partial(forward, node, layer))
        return forward

    return decorate


def _with_bias(term: str) -> Term:
    return lambda node: term.format(node.layer) + (" + bias" if node.layer.bias else "")


_WINDOWS = "windows(x, {0.kernel_size}, stride={0.stride}, padding={0.padding})"


@register(spec.Conv2d, _with_bias(f"tensordot({_WINDOWS}, weight[:{{0.out_channels}}])"))
def conv2d(node: Node, layer: spec.Conv2d, tensors: State, x: Array, noise: Noise) -> Result:
    """Each output position: the sum over its window of input times weight [out, in, k, k]."""
    weight, inputs = tensors[f"{node.path}.weight"], windows(x, *layer.window)
    y = np.tensordot(inputs, weight, axes=([1, 4, 5], [1, 2, 3])).transpose(0, 3, 1, 2)
    if layer.bias:
        y = y + tensors[f"{node.path}.bias"][:, None, None]

    def backward(dy: Array, gradients: State) -> Array:
        gradients[f"{node.path}.weight"] = np.tensordot(dy, inputs, axes=([0, 2, 3], [0, 2, 3]))
        if layer.bias:
            gradients[f"{node.path}.bias"] = dy.sum(axis=(0, 2, 3))

        def part(row: int, column: int) -> Array:
            return np.tensordot(dy, weight[:, :, row, column], axes=([1], [0])).transpose(0, 3, 1, 2)

        return add_windows(part, x, *layer.window)

    return y, backward


@register(spec.Linear, _with_bias("x @ weight[:{0.out_features}].T"))
def linear(node: Node, layer: spec.Linear, tensors: State, x: Array, noise: Noise) -> Result:
    """x @ weight.T + bias, weight [out, in]."""
    weight = tensors[f"{node.path}.weight"]
    y = x @ weight.T
    if layer.bias:
        y = y + tensors[f"{node.path}.bias"]

    def backward(dy: Array, gradients: State) -> Array:
        gradients[f"{node.path}.weight"] = dy.T @ x
        if layer.bias:
            gradients[f"{node.path}.bias"] = dy.sum(axis=0)
        return dy @ weight

    return y, backward


@register(
    spec.BatchNorm2d,
    "(x - mean) / sqrt(var + {eps}) * weight + bias; running += {momentum} * (batch - running)",
)
def batch_norm2d(node: Node, layer: spec.BatchNorm2d, tensors: State, x: Array, noise: Noise) -> Result:
    """(x - mean) / sqrt(var + eps) * weight + bias by channel; only the running variance is unbiased."""
    axes, count = (0, 2, 3), x.size // x.shape[1]
    weight, bias, running_mean, running_var = (tensors[name][:, None, None] for name in node.tensors)
    if noise is None:
        mean, var = running_mean, running_var
    else:
        mean, var = x.mean(axes, keepdims=True)[0], x.var(axes, keepdims=True)[0]
        # Views of the model's own tensors: updated in place.
        running_mean += layer.momentum * (mean - running_mean)
        running_var += layer.momentum * (var * count / (count - 1) - running_var)
    scale = 1 / np.sqrt(var + layer.eps)
    normal = (x - mean) * scale

    def backward(dy: Array, gradients: State) -> Array:
        gradients[f"{node.path}.weight"] = (dy * normal).sum(axes)
        gradients[f"{node.path}.bias"] = dy.sum(axes)
        by_mean = dy.mean(axes, keepdims=True)
        by_var = (dy * normal).mean(axes, keepdims=True)
        dx: Array = weight * scale * (dy - by_mean - normal * by_var)
        return dx

    return normal * weight + bias, backward


@register(spec.ReLU, "maximum(x, 0)")
def relu(node: Node, layer: spec.ReLU, tensors: State, x: Array, noise: Noise) -> Result:
    """max(x, 0); the gradient at 0 is 0."""
    return np.maximum(x, 0), lambda dy, gradients: dy * (x > 0)


@register(
    spec.MaxPool2d,
    "windows(x, {kernel_size}, stride={layer.step}, padding={padding}, value=-inf).max((4, 5))",
)
def max_pool2d(node: Node, layer: spec.MaxPool2d, tensors: State, x: Array, noise: Noise) -> Result:
    """Largest of each window; the first among equals, row by row, takes the gradient."""
    inputs, size = windows(x, *layer.window, value=-np.inf), layer.kernel_size
    flat = inputs.reshape(*inputs.shape[:4], size * size)
    winner = flat.argmax(axis=4)
    y = np.take_along_axis(flat, winner[..., None], axis=4)[..., 0]

    def backward(dy: Array, gradients: State) -> Array:
        return add_windows(lambda row, column: dy * (winner == row * size + column), x, *layer.window)

    return y, backward


@register(spec.AvgPool2d, "windows(x, {kernel_size}, stride={layer.step}, padding={padding}).mean((4, 5))")
def avg_pool2d(node: Node, layer: spec.AvgPool2d, tensors: State, x: Array, noise: Noise) -> Result:
    """Mean of each window, padded zeros included."""

    def backward(dy: Array, gradients: State) -> Array:
        share = dy / layer.kernel_size**2
        return add_windows(lambda row, column: share, x, *layer.window)

    return windows(x, *layer.window).mean(axis=(4, 5)), backward


@register(spec.AdaptiveAvgPool2d, "cells(x, {output_size}).mean()")
def adaptive_avg_pool2d(
    node: Node, layer: spec.AdaptiveAvgPool2d, tensors: State, x: Array, noise: Noise
) -> Result:
    """Mean of each cell; cell i of m over n pixels runs from floor(i*n/m) up to ceil((i+1)*n/m)."""
    count = layer.output_size

    def cells() -> Iterator[tuple[int, int, slice, slice]]:
        for i, j in np.ndindex(count, count):
            down, across = (
                slice(cell * pixels // count, -(-(cell + 1) * pixels // count))
                for cell, pixels in zip((i, j), x.shape[2:], strict=True)
            )
            yield i, j, down, across

    y = np.empty((*x.shape[:2], count, count))
    for i, j, down, across in cells():
        y[:, :, i, j] = x[:, :, down, across].mean(axis=(2, 3))

    def backward(dy: Array, gradients: State) -> Array:
        dx = np.zeros_like(x)
        for i, j, down, across in cells():
            area = (down.stop - down.start) * (across.stop - across.start)
            dx[:, :, down, across] += dy[:, :, i, j, None, None] / area
        return dx

    return y, backward


@register(spec.Flatten, "x.reshape(batch, -1)")
def flatten(node: Node, layer: spec.Flatten, tensors: State, x: Array, noise: Noise) -> Result:
    """[B, C, H, W] to [B, C*H*W]."""
    return x.reshape(len(x), -1), lambda dy, gradients: dy.reshape(x.shape)


@register(spec.Dropout, masked)
def dropout(node: Node, layer: spec.Dropout, tensors: State, x: Array, noise: Noise) -> Result:
    """x * mask / (1 - p) in training, with the mask of `xtrain.spec.dropout`."""
    if noise is None:
        return x, lambda dy, gradients: dy
    mask = keep_mask(noise[1 + node.dropout], layer.p, x.shape, noise[0]) / (1 - layer.p)
    return x * mask, lambda dy, gradients: dy * mask


@register(spec.LogSoftmax, "x - log(exp(x).sum(1, keepdims=True))")
def log_softmax(node: Node, layer: spec.LogSoftmax, tensors: State, x: Array, noise: Noise) -> Result:
    """z - logsumexp(z)."""
    z = x - x.max(axis=1, keepdims=True)  # exp can't overflow then
    y = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return y, lambda dy, gradients: dy - np.exp(y) * dy.sum(axis=1, keepdims=True)


@register(spec.Rows, "x.transpose(0, 2, 1, 3).reshape(batch, height, -1)")
def rows(node: Node, layer: spec.Rows, tensors: State, x: Array, noise: Noise) -> Result:
    """[B, C, H, W] to [B, H, C*W]."""
    batch, channels, height, width = x.shape
    y = x.transpose(0, 2, 1, 3).reshape(batch, height, channels * width)
    return y, lambda dy, gradients: dy.reshape(batch, height, channels, width).transpose(0, 2, 1, 3)


@register(
    spec.LSTM,
    "{num_layers} x (c = sigmoid(f) * c + sigmoid(i) * tanh(g); h = sigmoid(o) * tanh(c)), N = {hidden_size}",
)
def lstm(node: Node, layer: spec.LSTM, tensors: State, x: Array, noise: Noise) -> Result:
    """[B, T, F] to [B, T, N], one layer over the outputs of the other."""
    names = [f"{node.path}.{{}}_l{number}" for number in range(layer.num_layers)]
    return run([partial(lstm_layer, name) for name in names], tensors, x, noise)


@register(spec.Last, "x[:, -1]")
def last(node: Node, layer: spec.Last, tensors: State, x: Array, noise: Noise) -> Result:
    """[B, T, F] to [B, F]: what comes at the last step."""

    def backward(dy: Array, gradients: State) -> Array:
        dx = np.zeros_like(x)
        dx[:, -1] = dy
        return dx

    return x[:, -1], backward


@LAYERS.register(spec.Residual, added)
def residual(node: Node, layer: spec.Residual) -> Forward:
    """body(x) + shortcut(x); an empty shortcut is the identity."""
    body, shortcut = ([lower(part) for part in parts] for parts in (node.body, node.shortcut))

    def forward(tensors: State, x: Array, noise: Noise) -> Result:
        (y, y_backward), (z, z_backward) = run(body, tensors, x, noise), run(shortcut, tensors, x, noise)
        return y + z, lambda dy, gradients: y_backward(dy, gradients) + z_backward(dy, gradients)

    return forward
