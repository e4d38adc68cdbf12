"""Lowerings over sequences. B batch, T steps, F features of a step, N hidden size."""

import numpy as np

from xtrain.spec import Node, State
from xtrain.spec import layers as spec
from xtrain_numpy.forward import Array, Backward, Forward, Noise


def rows(node: Node, layer: spec.Rows) -> Forward:
    """[B, C, H, W] to [B, H, C*W]."""

    def forward(tensors: State, x: Array, noise: Noise | None) -> tuple[Array, Backward]:
        batch, channels, height, width = x.shape

        def backward(dy: Array, gradients: State) -> Array:
            return dy.reshape(batch, height, channels, width).transpose(0, 2, 1, 3)

        return x.transpose(0, 2, 1, 3).reshape(batch, height, channels * width), backward

    return forward


def last(node: Node, layer: spec.Last) -> Forward:
    """[B, T, F] to [B, F]: what comes at the last step."""

    def forward(tensors: State, x: Array, noise: Noise | None) -> tuple[Array, Backward]:
        def backward(dy: Array, gradients: State) -> Array:
            dx = np.zeros_like(x)
            dx[:, -1] = dy
            return dx

        return x[:, -1], backward

    return forward


def lstm(node: Node, layer: spec.LSTM) -> Forward:
    """[B, T, F] to [B, T, N], one layer over the outputs of the other."""

    def forward(tensors: State, x: Array, noise: Noise | None) -> tuple[Array, Backward]:
        backwards: list[Backward] = []
        for number in range(layer.num_layers):
            x, backward = _layer(tensors, f"{node.path}.", f"_l{number}", x)
            backwards.append(backward)

        def back(dy: Array, gradients: State) -> Array:
            for backward in reversed(backwards):
                dy = backward(dy, gradients)
            return dy

        return x, back

    return forward


def _layer(tensors: State, path: str, number: str, x: Array) -> tuple[Array, Backward]:
    names = [f"{path}{name}{number}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
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
