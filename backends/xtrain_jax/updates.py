"""Update formulas with their terms, as PyTorch documents them: of one parameter, as pure functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xtrain.plugins import Lazy
from xtrain.spec import FORMULAS, SGD, Adagrad, Adam, AdamW, Lowerings, Rates, RMSprop, Term

if TYPE_CHECKING:
    import jax.numpy as jnp
    from jax import Array
else:
    jnp = Lazy("jax.numpy")

SHARED: dict[str, Term] = {
    **FORMULAS,
    "lr": "lr, traced: given to each step",
    "clip_value": "jnp.clip(g, -{clip_value}, {clip_value})",
}
"""Terms of the keys that every optimizer has."""

Buffers = dict[str, "Array"]
Update = Callable[[Any, "Array", "Array", Buffers, float, Rates], tuple["Array", Buffers]]
UPDATES: Lowerings[Update] = Lowerings("jax", "optimizer")
"""Each takes the spec, a parameter w, its gradient g, its buffers, its decay and the rates of the update, and
returns the new parameter and the new buffers."""


@UPDATES.register(
    SGD,
    {
        "name": lambda spec: f"w - lr * {'d' if spec.momentum else 'g'}",
        "momentum": "buffer = {momentum} * buffer + share * g",
        "dampening": "share = 1 - {dampening} from the second update on",
        "nesterov": lambda spec: f"d = {'g + momentum * buffer' if spec.nesterov else 'buffer'}",
    },
)
def sgd(
    spec: SGD, w: Array, g: Array, buffers: Buffers, decay: float, now: Rates
) -> tuple[Array, Buffers]:
    """torch.optim.SGD: the first update fills the momentum buffer with the gradient, undampened."""
    g = g + decay * w
    if not spec.momentum:
        return w - now.lr * g, {}
    buffer = now.momentum * buffers["momentum_buffer"] + now.gradient_share * g
    direction = g + now.momentum * buffer if spec.nesterov else buffer
    return w - now.lr * direction, {"momentum_buffer": buffer}


_ADAM: dict[str, Term] = {
    "name": "w - lr / (1 - b1**t) * m / (jnp.sqrt(v / (1 - b2**t)) + eps)",
    "betas": "b1, b2 = {betas[0]}, {betas[1]}",
}


@UPDATES.register(Adam, _ADAM)
@UPDATES.register(AdamW, {**_ADAM, "weight_decay": "w * (1 - lr * {weight_decay})"})
def adam(
    spec: Adam | AdamW, w: Array, g: Array, buffers: Buffers, decay: float, now: Rates
) -> tuple[Array, Buffers]:
    """torch.optim.Adam and AdamW: both moments corrected for their start at zero, eps outside the root."""
    if isinstance(spec, AdamW):
        w = w * (1 - now.lr * decay)
    else:
        g = g + decay * w
    beta1, beta2 = now.momentum, spec.betas[1]
    m = beta1 * buffers["exp_avg"] + (1 - beta1) * g
    v = beta2 * buffers["exp_avg_sq"] + (1 - beta2) * g**2
    w = w - now.lr / now.mean_correction * m / (jnp.sqrt(v / now.square_correction) + spec.eps)
    return w, {"exp_avg": m, "exp_avg_sq": v}


@UPDATES.register(
    RMSprop,
    {
        "name": lambda spec: (
            f"w - lr * {'buffer' if spec.momentum else 'd'}, d = g / (jnp.sqrt(variance) + eps)"
        ),
        "alpha": lambda spec: f"v = {spec.alpha} * v + {1 - spec.alpha:.6g} * g**2",
        "momentum": "buffer = {momentum} * buffer + d",
        "centered": lambda spec: f"variance = {'v - mean(g)**2' if spec.centered else 'v'}",
    },
)
def rmsprop(
    spec: RMSprop, w: Array, g: Array, buffers: Buffers, decay: float, now: Rates
) -> tuple[Array, Buffers]:
    """torch.optim.RMSprop: eps outside the root, the momentum buffer without lr."""
    g = g + decay * w
    new = {"square_avg": spec.alpha * buffers["square_avg"] + (1 - spec.alpha) * g**2}
    variance = new["square_avg"]
    if spec.centered:
        new["grad_avg"] = spec.alpha * buffers["grad_avg"] + (1 - spec.alpha) * g
        variance = variance - new["grad_avg"] ** 2
    direction = g / (jnp.sqrt(variance) + spec.eps)
    if spec.momentum:
        direction = new["momentum_buffer"] = now.momentum * buffers["momentum_buffer"] + direction
    return w - now.lr * direction, new


@UPDATES.register(
    Adagrad,
    {
        "name": "w - lr * g / (jnp.sqrt(sum) + eps), sum + g**2",
        "lr_decay": "lr / (1 + (t - 1) * {lr_decay})",
    },
)
def adagrad(
    spec: Adagrad, w: Array, g: Array, buffers: Buffers, decay: float, now: Rates
) -> tuple[Array, Buffers]:
    """torch.optim.Adagrad; its lr is decayed already."""
    g = g + decay * w
    total = buffers["sum"] + g**2
    return w - now.lr * g / (jnp.sqrt(total) + spec.eps), {"sum": total}
