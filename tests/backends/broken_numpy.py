"""A plugin of pytest that breaks the NumPy backend itself: `-p broken_numpy`, and XTRAIN_BROKEN says how.

In the mutants the reference beside the wrong backend is right. Here both are wrong, as where somebody breaks
the reference, and a comparison of the two notices nothing.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import mutants
import numpy as np
from xtrain_numpy import optimizer
from xtrain_numpy.layers import LAYERS
from xtrain_numpy.losses import LOSSES
from xtrain_numpy.modules import run
from xtrain_numpy.updates import UPDATES, adam

from xtrain.spec import MSE, NLL, SGD, Adagrad, Adam, AdamW, CrossEntropy, RMSprop
from xtrain.spec import layers as spec


def other(table: Any, kind: type, lowering: Any) -> Callable[[], None]:
    """Put another lowering into a table of the backend, with the same term."""

    def replace_it() -> None:
        table._found[kind] = lowering, table._found[kind][1]

    return replace_it


def layer(kind: type, lowering: Callable[[Any, Any], Any]) -> Callable[[], None]:
    return other(LAYERS, kind, lowering)


def update(kind: type, lowering: Any) -> Callable[[], None]:
    return other(UPDATES, kind, lowering)


def around(kind: type, change: Callable[..., Any]) -> Callable[[], None]:
    """`change` is given a layer's path, its right forward pass, and what that is called with."""
    return layer(kind, lambda node, given: partial(change, node.path, mutants.right_layer(node, given)))


def _turned_kernel(path: str, right: Any, tensors: Any, x: Any, noise: Any) -> Any:
    """A convolution as mathematicians have it: the kernel upside down."""
    name = f"{path}.weight"
    y, backward = right({**tensors, name: tensors[name][:, :, ::-1, ::-1]}, x, noise)

    def back(dy: Any, gradients: Any) -> Any:
        dx = backward(dy, gradients)
        gradients[name] = gradients[name][:, :, ::-1, ::-1]
        return dx

    return y, back


def _twice_the_bias(path: str, right: Any, tensors: Any, x: Any, noise: Any) -> Any:
    name = f"{path}.bias"
    if name not in tensors:
        return right(tensors, x, noise)
    y, backward = right({**tensors, name: 2 * tensors[name]}, x, noise)

    def back(dy: Any, gradients: Any) -> Any:
        dx = backward(dy, gradients)
        gradients[name] = 2 * gradients[name]
        return dx

    return y, back


def _smallest(path: str, right: Any, tensors: Any, x: Any, noise: Any) -> Any:
    y, backward = right(tensors, -x, noise)
    return -y, backward


def _transposed(path: str, right: Any, tensors: Any, x: Any, noise: Any) -> Any:
    y, backward = right(tensors, x, noise)
    return y.swapaxes(2, 3), lambda dy, gradients: backward(dy.swapaxes(2, 3), gradients)


def _scaled(by: float) -> Callable[..., Any]:
    def change(path: str, right: Any, tensors: Any, x: Any, noise: Any) -> Any:
        y, backward = right(tensors, x, noise)
        return by * y, lambda dy, gradients: backward(by * dy, gradients)

    return change


def _leaky(node: Any, given: Any) -> Any:
    return lambda tensors, x, noise: (
        np.where(x > 0, x, 0.01 * x),
        lambda dy, gradients: dy * np.where(x > 0, 1, 0.01),
    )


def _subtracted(node: Any, given: Any) -> Any:
    """body(x) - shortcut(x)."""
    body, shortcut = ([LAYERS.lower(part) for part in parts] for parts in (node.body, node.shortcut))

    def forward(tensors: Any, x: Any, noise: Any) -> Any:
        (y, y_back), (z, z_back) = run(body, tensors, x, noise), run(shortcut, tensors, x, noise)
        return y - z, lambda dy, gradients: y_back(dy, gradients) + z_back(-dy, gradients)

    return forward


def _first_step(path: str, right: Any, tensors: Any, x: Any, noise: Any) -> Any:
    """The first step of a sequence in place of the last."""
    y, backward = right(tensors, x[:, ::-1], noise)
    return y, lambda dy, gradients: backward(dy, gradients)[:, ::-1]


def _gradient(by: float) -> Callable[..., Any]:
    """The output is right, and the gradient that is passed on is not."""

    def change(path: str, right: Any, tensors: Any, x: Any, noise: Any) -> Any:
        y, backward = right(tensors, x, noise)
        return y, lambda dy, gradients: by * backward(dy, gradients)

    return change


def _own_gradient(path: str, right: Any, tensors: Any, x: Any, noise: Any) -> Any:
    """One element of the gradient by the layer's own weights is wrong."""
    y, backward = right(tensors, x, noise)

    def back(dy: Any, gradients: Any) -> Any:
        dx = backward(dy, gradients)
        name = next(name for name in gradients if name.startswith(f"{path}."))
        gradients[name].flat[0] *= 1.01
        return dx

    return y, back


def _loss(kind: type, change: Callable[[Any], Any]) -> Callable[[], None]:
    """A loss that reads an option wrongly."""
    right = LOSSES._found[kind][0]
    return other(LOSSES, kind, lambda loss, outputs, labels: right(change(loss), outputs, labels))


def _loss_gradient(loss: Any, outputs: Any, labels: Any) -> Any:
    value, gradient = _CROSS_ENTROPY(loss, outputs, labels)
    return value, gradient - gradient.mean(axis=1, keepdims=True) + 1e-3


_CROSS_ENTROPY = LOSSES._found[CrossEntropy][0]


def _averaged_momentum(given: Any, w: Any, g: Any, held: Any, decay: float, now: Any) -> None:
    """buffer = momentum * buffer + (1 - momentum) * g."""
    g = g + decay * w
    if given.momentum:
        buffer = held["momentum_buffer"]
        buffer[...] = now.momentum * buffer + (1 - now.momentum) * now.gradient_share * g
        g = g + now.momentum * buffer if given.nesterov else buffer
    w -= now.lr * g


def _adam_with_eps_inside(given: Any, *rest: Any) -> None:
    mutants._adam(eps_inside=True, corrected=True)(given)(given, *rest)


def _coupled(given: Any, *rest: Any) -> None:
    adam(Adam(**mutants._fields(given, "name")), *rest)


def _rmsprop_with_eps_inside(given: Any, *rest: Any) -> None:
    mutants._rmsprop_eps_inside(given)(given, *rest)


def _adagrad_with_eps_inside(given: Any, w: Any, g: Any, held: Any, decay: float, now: Any) -> None:
    g = g + decay * w
    held["sum"] += g**2
    w -= now.lr * g / np.sqrt(held["sum"] + given.eps)


def _clip_each() -> None:
    optimizer.NumpyOptimizer = mutants.ClipsEachTensor


# Name, the row that must notice it, what breaks the backend.
BROKEN: dict[str, tuple[str, Callable[[], None]]] = {
    "conv": ("layer_is_pytorchs", around(spec.Conv2d, _turned_kernel)),
    "linear": ("layer_is_pytorchs", around(spec.Linear, _twice_the_bias)),
    "relu": ("layer_is_pytorchs", layer(spec.ReLU, _leaky)),
    "max_pool": ("layer_is_pytorchs", around(spec.MaxPool2d, _smallest)),
    "avg_pool": ("layer_is_pytorchs", layer(spec.AvgPool2d, mutants._avg_pool_without_padding)),
    "adaptive_avg_pool": ("layer_is_pytorchs", around(spec.AdaptiveAvgPool2d, _transposed)),
    "batch_norm": ("layer_is_pytorchs", layer(spec.BatchNorm2d, mutants._batch_norm(True, False))),
    "batch_norm_eps": (
        "layer_is_pytorchs",
        layer(spec.BatchNorm2d, lambda node, given: mutants.right_layer(node, replace(given, eps=2e-5))),
    ),
    "dropout_scale": ("layer_is_pytorchs", layer(spec.Dropout, mutants._dropout(False, 0))),
    "flatten": ("layer_is_pytorchs", layer(spec.Flatten, mutants._flatten_channels_last)),
    "lstm": ("layer_is_pytorchs", layer(spec.LSTM, mutants._lstm_gates_swapped)),
    "last": ("layer_is_pytorchs", around(spec.Last, _first_step)),
    "log_softmax": ("layer_is_pytorchs", around(spec.LogSoftmax, _scaled(1 / np.log(2)))),
    "residual": ("layer_is_pytorchs", layer(spec.Residual, _subtracted)),
    "cross_entropy": (
        "loss_is_pytorchs",
        _loss(CrossEntropy, lambda loss: replace(loss, label_smoothing=loss.label_smoothing / 2)),
    ),
    "nll": ("loss_is_pytorchs", _loss(NLL, lambda loss: replace(loss, class_weights=None))),
    "mse": ("loss_is_pytorchs", _loss(MSE, lambda loss: replace(loss, reduction="sum"))),
    "sgd": ("optimizer_is_pytorchs", update(SGD, _averaged_momentum)),
    "adam": ("optimizer_is_pytorchs", update(Adam, _adam_with_eps_inside)),
    "adamw": ("optimizer_is_pytorchs", update(AdamW, _coupled)),
    "rmsprop": ("optimizer_is_pytorchs", update(RMSprop, _rmsprop_with_eps_inside)),
    "adagrad": ("optimizer_is_pytorchs", update(Adagrad, _adagrad_with_eps_inside)),
    "clip_norm": ("optimizer_is_pytorchs", _clip_each),
    "conv_gradient": ("gradient_is_the_slope", around(spec.Conv2d, _own_gradient)),
    "linear_gradient": ("gradient_is_the_slope", around(spec.Linear, _own_gradient)),
    "batch_norm_gradient": ("gradient_is_the_slope", around(spec.BatchNorm2d, _gradient(1.001))),
    "lstm_gradient": ("gradient_is_the_slope", around(spec.LSTM, _own_gradient)),
    "avg_pool_gradient": ("gradient_is_the_slope", around(spec.AvgPool2d, _gradient(1.001))),
    "cross_entropy_gradient": ("gradient_is_the_slope", other(LOSSES, CrossEntropy, _loss_gradient)),
}

if name := os.environ.get("XTRAIN_BROKEN"):
    BROKEN[name][1]()
