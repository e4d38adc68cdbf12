"""Update formulas with their terms, as PyTorch documents them: of one parameter, in place."""

from collections.abc import Callable
from typing import Any

import numpy as np

from xtrain.spec import SGD, Adagrad, Adam, AdamW, Array, Lowerings, Rates, RMSprop, Term

Buffers = dict[str, Array]
Update = Callable[[Any, Array, Array, Buffers, float, Rates], None]
UPDATES: Lowerings[Update] = Lowerings("numpy", "optimizer")
"""Each takes the spec, a parameter w, its gradient g, its buffers, its decay and the rates of the update."""


@UPDATES.register(
    SGD,
    {
        "name": lambda spec: f"w -= lr * {'d' if spec.momentum else 'g'}",
        "momentum": "buffer = {momentum} * buffer + share * g",
        "dampening": "share = 1 - {dampening} from the second update on",
        "nesterov": lambda spec: f"d = {'g + momentum * buffer' if spec.nesterov else 'buffer'}",
    },
)
def sgd(spec: SGD, w: Array, g: Array, buffers: Buffers, decay: float, now: Rates) -> None:
    """torch.optim.SGD: the first update fills the momentum buffer with the gradient, undampened."""
    g = g + decay * w
    if spec.momentum:
        buffer = buffers["momentum_buffer"]
        buffer[...] = now.momentum * buffer + now.gradient_share * g
        g = g + now.momentum * buffer if spec.nesterov else buffer
    w -= now.lr * g


_ADAM: dict[str, Term] = {
    "name": "w -= lr / (1 - b1**t) * m / (sqrt(v / (1 - b2**t)) + eps)",
    "betas": "b1, b2 = {betas[0]}, {betas[1]}",
}


@UPDATES.register(Adam, _ADAM)
@UPDATES.register(AdamW, {**_ADAM, "weight_decay": "w *= 1 - lr * {weight_decay}"})
def adam(spec: Adam | AdamW, w: Array, g: Array, buffers: Buffers, decay: float, now: Rates) -> None:
    """torch.optim.Adam and AdamW: both moments corrected for their start at zero, eps outside the root."""
    if isinstance(spec, AdamW):
        w *= 1 - now.lr * decay
    else:
        g = g + decay * w
    beta1, beta2 = now.momentum, spec.betas[1]
    m, v = buffers["exp_avg"], buffers["exp_avg_sq"]
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g**2
    w -= now.lr / now.mean_correction * m / (np.sqrt(v / now.square_correction) + spec.eps)


@UPDATES.register(
    RMSprop,
    {
        "name": lambda spec: (
            f"w -= lr * {'buffer' if spec.momentum else 'd'}, d = g / (sqrt(variance) + eps)"
        ),
        "alpha": lambda spec: f"v = {spec.alpha} * v + {1 - spec.alpha:.6g} * g**2",
        "momentum": "buffer = {momentum} * buffer + d",
        "centered": lambda spec: f"variance = {'v - mean(g)**2' if spec.centered else 'v'}",
    },
)
def rmsprop(spec: RMSprop, w: Array, g: Array, buffers: Buffers, decay: float, now: Rates) -> None:
    """torch.optim.RMSprop: eps outside the root, the momentum buffer without lr."""
    g = g + decay * w
    variance = v = buffers["square_avg"]
    v[...] = spec.alpha * v + (1 - spec.alpha) * g**2
    if spec.centered:
        a = buffers["grad_avg"]
        a[...] = spec.alpha * a + (1 - spec.alpha) * g
        variance = v - a**2
    d = g / (np.sqrt(variance) + spec.eps)
    if spec.momentum:
        buffer = buffers["momentum_buffer"]
        buffer[...] = now.momentum * buffer + d
        d = buffer
    w -= now.lr * d


@UPDATES.register(
    Adagrad,
    {"name": "w -= lr * g / (sqrt(sum) + eps), sum += g**2", "lr_decay": "lr / (1 + (t - 1) * {lr_decay})"},
)
def adagrad(spec: Adagrad, w: Array, g: Array, buffers: Buffers, decay: float, now: Rates) -> None:
    """torch.optim.Adagrad; its lr is decayed already."""
    g = g + decay * w
    buffers["sum"] += g**2
    w -= now.lr * g / (np.sqrt(buffers["sum"]) + spec.eps)
