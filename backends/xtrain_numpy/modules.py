"""What a lowered layer is, and what several layers of the table are made of."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xtrain.spec import Array, State

Noise = tuple[int, ...] | None
"""`ModelSpec.noise`: the place of row 0 in the whole step, then each dropout's key. None in evaluation."""

Backward = Callable[[Array, State], Array]
"""From the gradient by a layer's output to that by its input; those by its own tensors go into the state."""

Forward = Callable[[State, Array, Noise], tuple[Array, Backward]]
"""A lowered layer: from the model's tensors, an input and the noise to an output and the way back."""


def run(layers: Sequence[Forward], tensors: State, x: Array, noise: Noise) -> tuple[Array, Backward]:
    """Pass x through the layers; none at all is the identity."""
    backwards: list[Backward] = []
    for layer in layers:
        x, backward = layer(tensors, x, noise)
        backwards.append(backward)

    def back(dy: Array, gradients: State) -> Array:
        for backward in reversed(backwards):
            dy = backward(dy, gradients)
        return dy

    return x, back


def pad(x: Array, padding: int, value: float = 0.0) -> Array:
    """Images [B, C, H, W] with `padding` rows and columns of `value` on each side."""
    if padding == 0:
        return x
    return np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=value)


def windows(x: Array, size: int, stride: int, padding: int, value: float = 0.0) -> Array:
    """Views [B, C, H', W', size, size] of each window over images [B, C, H, W] padded with `value`."""
    views: Any = np.lib.stride_tricks.sliding_window_view
    every: Array = views(pad(x, padding, value), (size, size), axis=(2, 3))
    return every[:, :, ::stride, ::stride]


def add_windows(part: Callable[[int, int], Array], x: Array, size: int, stride: int, padding: int) -> Array:
    """The way back from `windows`: at each pixel of x, the sum of what the windows over it give.

    `part(row, column)` [B, C, H', W'] is what each window gives to the pixel at this place in it.
    """
    dx = np.zeros_like(pad(x, padding))  # in memory as x is: the order of later sums hangs on that
    for row, column in np.ndindex(size, size):
        given = part(row, column)
        height, width = given.shape[2:]
        dx[:, :, row : row + stride * height : stride, column : column + stride * width : stride] += given
    return dx[:, :, padding : padding + x.shape[2], padding : padding + x.shape[3]]


def lstm_layer(name: str, tensors: State, x: Array, noise: Noise) -> tuple[Array, Backward]:
    """One layer of an LSTM, [B, T, F] to [B, T, N]; `name` is its tensors' with `{}` for which it is."""
    names = [name.format(which) for which in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    weight_ih, weight_hh, bias_ih, bias_hh = (tensors[name] for name in names)
    h = c = np.zeros((len(x), weight_hh.shape[1]))
    y, steps = np.empty((*x.shape[:2], h.shape[1])), []
    for t in range(x.shape[1]):
        gates = np.split(x[:, t] @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-gates[place])) for place in (0, 1, 3))
        g, old = np.tanh(gates[2]), (h, c)
        c = f * c + i * g
        h = y[:, t] = o * np.tanh(c)
        steps.append((i, f, g, o, c, *old))

    def backward(dy: Array, gradients: State) -> Array:
        dx = np.zeros_like(x)
        sums = [np.zeros_like(tensors[name]) for name in names]
        dh = dc = np.zeros_like(h)
        for t in reversed(range(x.shape[1])):
            i, f, g, o, c, old_h, old_c = steps[t]
            dh = dh + dy[:, t]
            dc = dc + dh * o * (1 - np.tanh(c) ** 2)
            raw = (dc * g * i * (1 - i), dc * old_c * f * (1 - f), dc * i * (1 - g**2))
            dgates = np.concatenate([*raw, dh * np.tanh(c) * o * (1 - o)], axis=1)
            parts = (dgates.T @ x[:, t], dgates.T @ old_h, dgates.sum(0), dgates.sum(0))
            sums = [total + part for total, part in zip(sums, parts, strict=True)]
            dx[:, t], dh, dc = dgates @ weight_ih, dgates @ weight_hh, dc * f
        gradients.update(zip(names, sums, strict=True))
        return dx

    return y, backward
