"""Causes in the forward phase and in the buffers of batch norm."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from xtrain.parity.causes.situation import Array, Cause, Predict, Situation
from xtrain.spec import (
    LSTM,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    LogSoftmax,
    MaxPool2d,
    Node,
)

_EPSILONS = (1e-3, 1e-5, 1e-8, 1e-12)


def _at(kind: type | tuple[type, ...], change: Callable[[Situation, Node, bool], Array | None]) -> Predict:
    """Of layers of a kind: names are `train/path` and `eval/path`."""

    def predict(s: Situation, name: str) -> Array | None:
        mode, _, path = name.partition("/")
        node = s.nodes[path]
        return change(s, node, mode == "train") if isinstance(node.layer, kind) else None

    return predict


def _tensor(kind: type | tuple[type, ...], which: str, change: Callable[[Array], Array | None]) -> Predict:
    """With one tensor of the layer otherwise; None where it has none, or the change does not fit it."""

    def predict(s: Situation, node: Node, training: bool) -> Array | None:
        value = s.weights.get(f"{node.path}.{which}")
        changed = None if value is None else change(value)
        return None if changed is None else s.output(node, training, tensors={which: changed})

    return _at(kind, predict)


def _layer(kind: type | tuple[type, ...], **changes: Any) -> Predict:
    """With other options of the layer; None where the output would have another shape."""

    def predict(s: Situation, node: Node, training: bool) -> Array | None:
        other: Any = replace(node.layer, **changes)
        if other == node.layer or other.output_shape(node.input_shape) != node.output_shape:
            return None
        return s.output(node, training, layer=other)

    return _at(kind, predict)


def _square(value: Array) -> Array | None:
    return value.swapaxes(0, 1) if value.shape[0] == value.shape[1] else None


def _reshaped(value: Array) -> Array | None:
    """A file of (in, out) read as (out, in): the same numbers in the wrong order."""
    return value.T.reshape(value.shape) if value.shape[0] != value.shape[1] else None


def _same_padding(s: Situation, node: Node, training: bool) -> Array | None:
    """As 'same' pads where the stride is above 1: more below and to the right."""
    layer: Any = node.layer
    if not layer.padding or getattr(layer, "stride", 1) == 1:
        return None
    mode = "train" if training else "eval"
    shifted = np.roll(s.leader[f"inputs/{mode}/{node.path}"], (-1, -1), axis=(2, 3))
    shifted[:, :, -1], shifted[:, :, :, -1] = 0, 0
    return s.output(node, training, x=shifted)


def _valid_padding(s: Situation, node: Node, training: bool) -> Array | None:
    """Padded with the nearest pixel in place of zeros."""
    layer: Any = node.layer
    p, mode = layer.padding, "train" if training else "eval"
    if not p or not isinstance(layer, Conv2d):
        return None
    x = np.pad(s.leader[f"inputs/{mode}/{node.path}"], ((0, 0), (0, 0), (p, p), (p, p)), mode="edge")
    wide = replace(node, input_shape=x.shape[1:])
    return s.output(wide, training, layer=replace(layer, padding=0), x=x)


def _unpadded_mean(s: Situation, node: Node, training: bool) -> Array | None:
    mode = "train" if training else "eval"
    x = s.leader[f"inputs/{mode}/{node.path}"]
    return s.output(node, training) / s.output(node, training, x=np.ones_like(x))


def _other_mode(s: Situation, node: Node, training: bool) -> Array | None:
    mode = "train" if training else "eval"
    return s.output(node, not training, x=s.leader[f"inputs/{mode}/{node.path}"])


def _dropout(factor: Callable[[float], float]) -> Predict:
    def predict(s: Situation, node: Node, training: bool) -> Array | None:
        layer: Any = node.layer
        return s.output(node, True) * factor(layer.p) if training else None

    return _at(Dropout, predict)


def _untouched(s: Situation, node: Node, training: bool) -> Array | None:
    return s.leader[f"inputs/train/{node.path}"] if training else None


def _inverted(s: Situation, node: Node, training: bool) -> Array | None:
    layer: Any = node.layer
    return s.output(node, True, layer=replace(layer, p=1 - layer.p)) if training and layer.p else None


def _channels_last(s: Situation, node: Node, training: bool) -> Array | None:
    x = s.leader[f"inputs/{'train' if training else 'eval'}/{node.path}"]
    return x.transpose(0, 2, 3, 1).reshape(len(x), -1) if x.ndim == 4 else None


def _gates(order: tuple[int, int, int, int]) -> Predict:
    """The four blocks of every tensor in another order; PyTorch's is i, f, g, o."""

    def predict(s: Situation, node: Node, training: bool) -> Array | None:
        names = [name.removeprefix(f"{node.path}.") for name in node.tensors]
        blocks = {name: np.split(s.weights[f"{node.path}.{name}"], 4) for name in names}
        changed = {name: np.concatenate([split[i] for i in order]) for name, split in blocks.items()}
        return s.output(node, training, tensors=changed)

    return _at(LSTM, predict)


def _rounded(bits: int) -> Predict:
    """Products of operands that keep so many bits of the fraction."""

    def cut(value: Array) -> Array:
        drop = 23 - bits
        whole = value.astype(np.float32).view(np.uint32).astype(np.uint64) + (1 << (drop - 1))
        return (whole >> drop << drop).astype(np.uint32).view(np.float32)

    def predict(s: Situation, node: Node, training: bool) -> Array | None:
        x = s.leader[f"inputs/{'train' if training else 'eval'}/{node.path}"]
        tensors = {"weight": cut(s.weights[f"{node.path}.weight"])}
        return s.output(node, training, tensors=tensors, x=cut(x))

    return _at((Conv2d, Linear), predict)


_WEIGHED = (Conv2d, Linear)

FORWARD = (
    Cause("the weight is transposed", _tensor(_WEIGHED, "weight", _square)),
    Cause("the weight of (in, out) is read as (out, in)", _tensor(Linear, "weight", _reshaped)),
    Cause(
        "kernels are turned: a convolution, not a cross-correlation",
        _tensor(Conv2d, "weight", lambda w: w[:, :, ::-1, ::-1]),
    ),
    Cause("the bias is ignored", _tensor((*_WEIGHED, BatchNorm2d), "bias", np.zeros_like)),
    Cause("the bias is added twice", _tensor((*_WEIGHED, BatchNorm2d), "bias", lambda b: 2 * b)),
    Cause("the scale is ignored", _tensor(BatchNorm2d, "weight", np.ones_like)),
    Cause("padding: wrong side, as 'same' pads", _at((Conv2d, MaxPool2d), _same_padding)),
    Cause("padding: the nearest pixels, not zeros", _at(Conv2d, _valid_padding)),
    Cause("padding: padded zeros do not count in the mean", _at(AvgPool2d, _unpadded_mean)),
    *(Cause(f"epsilon is {eps:g}", _layer(BatchNorm2d, eps=eps)) for eps in _EPSILONS),
    Cause("training and evaluation are exchanged", _at((BatchNorm2d, Dropout), _other_mode)),
    Cause("dropout: what is kept is not scaled", _dropout(lambda p: 1 - p)),
    Cause("dropout: what is kept is scaled by 1 - p, not 1 / (1 - p)", _dropout(lambda p: (1 - p) ** 2)),
    Cause("dropout: p is the share that is kept", _at(Dropout, _inverted)),
    Cause("dropout is ignored", _at(Dropout, _untouched)),
    Cause("channels are flattened last", _at(Flatten, _channels_last)),
    Cause("log-softmax has a floor at -64", _at(LogSoftmax, lambda s, n, t: np.maximum(s.output(n, t), -64))),
    Cause("gates are in the order i, f, o, g", _gates((0, 1, 3, 2))),
    Cause("gates are in the order i, g, f, o", _gates((0, 2, 1, 3))),
    Cause("products of TF32: operands of 10 bits", _rounded(10)),
    Cause("products of bfloat16: operands of 7 bits", _rounded(7)),
)


def _buffer(which: str, change: Callable[[Array, Array, BatchNorm2d, int], Array | None]) -> Predict:
    """Of a running statistic: from before, after, the layer and how many values a channel has."""

    def predict(s: Situation, name: str) -> Array | None:
        path, _, buffer = name.rpartition(".")
        layer = s.nodes[path].layer
        after, before = s.right[f"buffers/{name}"], s.weights[name]
        if not isinstance(layer, BatchNorm2d) or not buffer.endswith(which):
            return after
        count = len(s.labels) * int(np.prod(s.nodes[path].input_shape[1:]))
        return change(before.astype(np.float64), after.astype(np.float64), layer, count)

    return predict


def _biased(before: Array, after: Array, layer: BatchNorm2d, count: int) -> Array:
    kept: Array = (1 - layer.momentum) * before
    moved: Array = kept + (after - kept) * (count - 1) / count
    return moved


def _momentum_inverted(before: Array, after: Array, layer: BatchNorm2d, count: int) -> Array | None:
    m = layer.momentum
    if not m:
        return None
    batch: Array = (after - (1 - m) * before) / m
    return m * before + (1 - m) * batch


BUFFERS = (
    Cause("the running variance is biased: divided by n, not n - 1", _buffer("running_var", _biased)),
    Cause("the momentum of the running statistics is inverted", _buffer("", _momentum_inverted)),
    Cause("the running statistics do not move", _buffer("", lambda before, after, layer, count: before)),
)
