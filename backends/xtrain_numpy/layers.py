"""The lowering table: one function for each layer of the vocabulary, its gradient beside it.

B batch, C channels, H and W height and width.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from xtrain.errors import UnsupportedError
from xtrain.spec import Node, State, keep_mask
from xtrain.spec import layers as spec
from xtrain_numpy.forward import Array, Backward, Forward, Noise
from xtrain_numpy.recurrent import last, lstm, rows


def conv2d(node: Node, layer: spec.Conv2d) -> Forward:
    """Each output position: the sum over its window of input times weight [out, in, k, k]."""
    size, stride, pad = layer.kernel_size, layer.stride, layer.padding

    def forward(tensors: State, x: Array, noise: Noise | None) -> tuple[Array, Backward]:
        weight = tensors[f"{node.path}.weight"]
        windows = _windows(_pad(x, pad), size, stride)
        y = np.tensordot(windows, weight, axes=([1, 4, 5], [1, 2, 3])).transpose(0, 3, 1, 2)
        if layer.bias:
            y = y + tensors[f"{node.path}.bias"][:, None, None]

        def backward(dy: Array, gradients: State) -> Array:
            gradients[f"{node.path}.weight"] = np.tensordot(dy, windows, axes=([0, 2, 3], [0, 2, 3]))
            if layer.bias:
                gradients[f"{node.path}.bias"] = dy.sum(axis=(0, 2, 3))
            dx = np.zeros_like(_pad(x, pad))
            for row, column, place in _offsets(size, stride, dy.shape[2:]):
                part = np.tensordot(dy, weight[:, :, row, column], axes=([1], [0]))
                dx[place] += part.transpose(0, 3, 1, 2)
            return _unpad(dx, pad)

        return y, backward

    return forward


def linear(node: Node, layer: spec.Linear) -> Forward:
    """x @ weight.T + bias, weight [out, in]."""

    def forward(tensors: State, x: Array, noise: Noise | None) -> tuple[Array, Backward]:
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

    return forward


def batch_norm2d(node: Node, layer: spec.BatchNorm2d) -> Forward:
    """(x - mean) / sqrt(var + eps) * weight + bias by channel; only the running variance is unbiased."""
    axes = (0, 2, 3)

    def forward(tensors: State, x: Array, noise: Noise | None) -> tuple[Array, Backward]:
        weight, bias, running_mean, running_var = (
            tensors[f"{node.path}.{name}"][:, None, None]
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        count = x.size // x.shape[1]
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

    return forward


def relu(node: Node, layer: spec.ReLU) -> Forward:
    """max(x, 0); the gradient at 0 is 0."""

    def forward(tensors: State, x: Array, noise: Noise | None) -> tuple[Array, Backward]:
        return np.maximum(x, 0), lambda dy, gradients: dy * (x > 0)

    return forward


def max_pool2d(node: Node, layer: spec.MaxPool2d) -> Forward:
    """Largest of each window; the first among equals, row by row, takes the gradient."""
    size, stride, pad = layer.kernel_size, layer.step, layer.padding

    def forward(tensors: State, x: Array, noise: Noise | None) -> tuple[Array, Backward]:
        windows = _windows(_pad(x, pad, -np.inf), size, stride)
        flat = windows.reshape(*windows.shape[:4], size * size)
        winner = flat.argmax(axis=4)
        y = np.take_along_axis(flat, winner[..., None], axis=4)[..., 0]

        def backward(dy: Array, gradients: State) -> Array:
            dx = np.zeros_like(_pad(x, pad))
            for row, column, place in _offsets(size, stride, dy.shape[2:]):
                dx[place] += dy * (winner == row * size + column)
            return _unpad(dx, pad)

        return y, backward

    return forward


def avg_pool2d(node: Node, layer: spec.AvgPool2d) -> Forward:
    """Mean of each window, padded zeros included."""
    size, stride, pad = layer.kernel_size, layer.step, layer.padding

    def forward(tensors: State, x: Array, noise: Noise | None) -> tuple[Array, Backward]:
        y = _windows(_pad(x, pad), size, stride).mean(axis=(4, 5))

        def backward(dy: Array, gradients: State) -> Array:
            dx = np.zeros_like(_pad(x, pad))
            for _, _, place in _offsets(size, stride, dy.shape[2:]):
                dx[place] += dy / size**2
            return _unpad(dx, pad)

        return y, backward

    return forward


def adaptive_avg_pool2d(node: Node, layer: spec.AdaptiveAvgPool2d) -> Forward:
    """Mean of each cell; cell i of m over n pixels runs from floor(i*n/m) up to ceil((i+1)*n/m)."""
    cells = layer.output_size

    def parts(height: int, width: int) -> Iterator[tuple[int, int, slice, slice]]:
        for i in range(cells):
            for j in range(cells):
                down = slice(i * height // cells, -(-(i + 1) * height // cells))
                across = slice(j * width // cells, -(-(j + 1) * width // cells))
                yield i, j, down, across

    def forward(tensors: State, x: Array, noise: Noise | None) -> tuple[Array, Backward]:
        y = np.empty((*x.shape[:2], cells, cells))
        for i, j, down, across in parts(*x.shape[2:]):
            y[:, :, i, j] = x[:, :, down, across].mean(axis=(2, 3))

        def backward(dy: Array, gradients: State) -> Array:
            dx = np.zeros_like(x)
            for i, j, down, across in parts(*x.shape[2:]):
                area = (down.stop - down.start) * (across.stop - across.start)
                dx[:, :, down, across] += dy[:, :, i, j, None, None] / area
            return dx

        return y, backward

    return forward


def flatten(node: Node, layer: spec.Flatten) -> Forward:
    """[B, C, H, W] to [B, C*H*W]."""

    def forward(tensors: State, x: Array, noise: Noise | None) -> tuple[Array, Backward]:
        return x.reshape(len(x), -1), lambda dy, gradients: dy.reshape(x.shape)

    return forward


def dropout(node: Node, layer: spec.Dropout) -> Forward:
    """x * mask / (1 - p) in training, with the mask of `xtrain.spec.dropout`."""

    def forward(tensors: State, x: Array, noise: Noise | None) -> tuple[Array, Backward]:
        if noise is None:
            return x, lambda dy, gradients: dy
        mask = keep_mask(noise[1 + node.dropout], layer.p, x.shape, noise[0]) / (1 - layer.p)
        return x * mask, lambda dy, gradients: dy * mask

    return forward


def log_softmax(node: Node, layer: spec.LogSoftmax) -> Forward:
    """z - logsumexp(z)."""

    def forward(tensors: State, x: Array, noise: Noise | None) -> tuple[Array, Backward]:
        z = x - x.max(axis=1, keepdims=True)  # exp can't overflow then
        y = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        return y, lambda dy, gradients: dy - np.exp(y) * dy.sum(axis=1, keepdims=True)

    return forward


def residual(node: Node, layer: spec.Residual) -> Forward:
    """body(x) + shortcut(x)."""
    body, shortcut = Chain(node.body), Chain(node.shortcut)

    def forward(tensors: State, x: Array, noise: Noise | None) -> tuple[Array, Backward]:
        (y, body_backward), (z, shortcut_backward) = body(tensors, x, noise), shortcut(tensors, x, noise)
        return y + z, lambda dy, grads: body_backward(dy, grads) + shortcut_backward(dy, grads)

    return forward


TABLE: dict[type[spec.Layer], Callable[[Node, Any], Forward]] = {
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


def lower(node: Node) -> Forward:
    """The function for one layer in its place."""
    kind = type(node.layer)
    if kind not in TABLE:
        raise UnsupportedError(f"backend numpy has no lowering for layer {node.path} ({kind.__name__})")
    return TABLE[kind](node, node.layer)


class Chain:
    """Layers one after the other; none at all is the identity."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._layers = [lower(node) for node in nodes]

    def __call__(self, tensors: State, x: Array, noise: Noise | None) -> tuple[Array, Backward]:
        """Outputs, and the way back through all layers."""
        backwards: list[Backward] = []
        for layer in self._layers:
            x, backward = layer(tensors, x, noise)
            backwards.append(backward)

        def back(dy: Array, gradients: State) -> Array:
            for backward in reversed(backwards):
                dy = backward(dy, gradients)
            return dy

        return x, back


def _windows(x: Array, size: int, stride: int) -> Array:
    """Views [B, C, H', W', size, size] of each window."""
    images = (*x.shape[:2], *(1 + (n - size) // stride for n in x.shape[2:]))
    by_image, by_channel, by_row, by_column = x.strides
    strides = (by_image, by_channel, stride * by_row, stride * by_column, by_row, by_column)
    return np.lib.stride_tricks.as_strided(x, (*images, size, size), strides, writeable=False)


def _offsets(size: int, stride: int, positions: tuple[int, ...]) -> Iterator[tuple[int, int, Any]]:
    """For each place in a window: its row and column, and where it falls in the padded image."""
    height, width = positions
    for row in range(size):
        for column in range(size):
            rows = slice(row, row + stride * height, stride)
            columns = slice(column, column + stride * width, stride)
            yield row, column, (slice(None), slice(None), rows, columns)


def _pad(x: Array, pad: int, value: float = 0.0) -> Array:
    if pad == 0:
        return x
    return np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=value)


def _unpad(x: Array, pad: int) -> Array:
    return x[:, :, pad:-pad, pad:-pad] if pad else x
