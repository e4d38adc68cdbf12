"""Update formulas with their terms, as PyTorch documents them: of one parameter."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xtrain.plugins import Lazy
from xtrain.spec import SGD, Adagrad, Adam, AdamW, Lowerings, Rates, RMSprop, Term

if TYPE_CHECKING:
    import jax.numpy as jnp
    from jax import Array
else:
    jnp = Lazy("jax.numpy")

Buffers = dict[str, "Array"]
UPDATES: Lowerings[Callable[[Any, Array, Array, Buffers, Rates], Array]] = Lowerings("jax", "optimizer")
"""Each takes the spec, a parameter w, its gradient g, its buffers and the rates of the update. It returns a
new parameter, and new buffers take the place of the old ones. Weight decay comes before."""


def _sgd(spec: SGD) -> str:
    return f"w - lr * {'(g + momentum * buffer)' if spec.nesterov else 'buffer' if spec.momentum else 'g'}"


_SGD: dict[str, Term] = {
    "name": _sgd,
    "momentum": "buffer = {momentum} * buffer + share * g",
    "dampening": "share = 1 - {dampening} from the second update on",
}


@UPDATES.register(SGD, _SGD)
def sgd(spec: SGD, w: Array, g: Array, buffers: Buffers, now: Rates) -> Array:
    """torch.optim.SGD: the first update fills the momentum buffer with the gradient, undampened."""
    if spec.momentum:
        m = buffers["momentum_buffer"] = now.momentum * buffers["momentum_buffer"] + now.gradient_share * g
        g = g + now.momentum * m if spec.nesterov else m
    return w - now.lr * g


_ADAM: dict[str, Term] = {
    "name": "w - lr / (1 - b1**t) * m / (jnp.sqrt(v / (1 - b2**t)) + eps)",
    "betas": "b1, b2 = {betas[0]}, {betas[1]}",
}


@UPDATES.register(Adam, _ADAM)
@UPDATES.register(AdamW, {**_ADAM, "weight_decay": "w * (1 - lr * {weight_decay})"})
def adam(spec: Adam | AdamW, w: Array, g: Array, buffers: Buffers, now: Rates) -> Array:
    """torch.optim.Adam and AdamW: both moments corrected for their start at zero, eps outside the root."""
    beta1, beta2 = now.momentum, spec.betas[1]
    m = buffers["exp_avg"] = beta1 * buffers["exp_avg"] + (1 - beta1) * g
    v = buffers["exp_avg_sq"] = beta2 * buffers["exp_avg_sq"] + (1 - beta2) * g**2
    return w - now.lr / now.mean_correction * m / (jnp.sqrt(v / now.square_correction) + spec.eps)


def _rmsprop(spec: RMSprop) -> str:
    variance = "v - mean(g)**2" if spec.centered else "v"
    end = "w - lr * buffer, buffer = momentum * buffer + d" if spec.momentum else "w - lr * d"
    return f"{end}, d = g / (jnp.sqrt({variance}) + eps), v = alpha * v + (1 - alpha) * g**2"


@UPDATES.register(RMSprop, {"name": _rmsprop})
def rmsprop(spec: RMSprop, w: Array, g: Array, buffers: Buffers, now: Rates) -> Array:
    """torch.optim.RMSprop: eps outside the root, the momentum buffer without lr."""
    variance = v = buffers["square_avg"] = spec.alpha * buffers["square_avg"] + (1 - spec.alpha) * g**2
    if spec.centered:
        mean = buffers["grad_avg"] = spec.alpha * buffers["grad_avg"] + (1 - spec.alpha) * g
        variance = v - mean**2
    direction = g / (jnp.sqrt(variance) + spec.eps)
    if spec.momentum:
        direction = buffers["momentum_buffer"] = now.momentum * buffers["momentum_buffer"] + direction
    return w - now.lr * direction


_ADAGRAD = "w - lr / (1 + (t - 1) * lr_decay) * g / (jnp.sqrt(sum) + eps), sum + g**2"


@UPDATES.register(Adagrad, {"name": _ADAGRAD})
def adagrad(spec: Adagrad, w: Array, g: Array, buffers: Buffers, now: Rates) -> Array:
    """torch.optim.Adagrad; its lr is decayed already."""
    buffers["sum"] += g**2
    return w - now.lr * g / (jnp.sqrt(buffers["sum"]) + spec.eps)
