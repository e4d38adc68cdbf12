"""Update formulas with their terms: kernels that update in place, where there are any.

P.ApplyMomentum at a rate of 0 keeps a moving sum in a buffer and leaves the parameter alone. A graph compiles
the functions that are made here, and finds in them what they were made with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xtrain.plugins import Lazy
from xtrain.spec import SGD, Adagrad, Adam, AdamW, Lowerings, OptimizerSpec, Rates, RMSprop, Term

P: Any = Lazy("mindspore.ops.operations")

SHARED: dict[str, Term] = {
    "lr": "lr, given to each step",
    "weight_decay": "gradient + {weight_decay} * weight",
    "decay_exclude": lambda spec: f"no decay for {', '.join(spec.decay_exclude) or 'none'}",
    "l1": "gradient + {l1} * P.Sign()(weight)",
    "l2": "gradient + {l2} * weight",
    "clip_value": "P.Minimum() and P.Maximum() with {clip_value}",
    "clip_norm": "gradient * min(1, {clip_norm} / (norm + 1e-6)), all together",
    "ema": lambda spec: f"P.ApplyGradientDescent(), {1 - spec.ema:.6g} of weight - average",
}
"""Terms of the keys that every optimizer has; what is not named here is an argument of the same name."""


@dataclass(frozen=True)
class Group:
    """Parameters, their buffers by name in the same order, and which of them decay."""

    parameters: tuple[Any, ...]
    buffers: dict[str, tuple[Any, ...]]
    decayed: tuple[bool, ...]


Update = Callable[[int, Any, "tuple[Any, Any, Any, Any]"], None]
"""Updates a parameter, given its index, its gradient, and `scalars` without the last."""


def scalars(spec: OptimizerSpec, rates: Rates) -> tuple[float, float, float, float, float]:
    """lr, momentum, what a formula has of its own, AdamW's decay, share of the weights in their average.

    Its own is Adam's eps, what Nesterov's momentum takes of the buffer, or the gradient's share in a buffer.
    """
    own = rates.gradient_share
    if isinstance(spec, Adam | AdamW):
        own = spec.eps * rates.root_correction
    elif isinstance(spec, SGD) and spec.nesterov:
        own = rates.nesterov_lr
    return rates.corrected_lr, rates.momentum, own, rates.decay, rates.average_share


def _coupled(spec: OptimizerSpec, group: Group) -> Callable[[int, Any], Any]:
    """Adds the weight decay to a parameter's gradient."""
    parameters, decayed, decay = group.parameters, group.decayed, spec.weight_decay

    def coupled(i: int, gradient: Any) -> Any:
        if decay and decayed[i]:
            gradient = gradient + decay * parameters[i]
        return gradient

    return coupled


UPDATES: Lowerings[Callable[[Any, Group], Update]] = Lowerings("mindspore", "optimizer")


def _kernel(spec: SGD | RMSprop) -> str:
    return "P.ApplyMomentum()" if spec.momentum else "P.ApplyGradientDescent()"


@UPDATES.register(
    SGD,
    {
        "name": _kernel,
        "dampening": lambda spec: f"the gradient times {1 - spec.dampening:g}, from the second step on",
        "nesterov": lambda spec: (
            "lr * momentum in place of lr, then P.ApplyGradientDescent()"
            if spec.nesterov
            else "use_nesterov=False"
        ),
    },
)
def sgd(spec: SGD, group: Group) -> Update:
    """buffer = momentum * buffer + g; w -= lr * buffer. Nesterov's lr * (g + momentum * buffer) in two parts."""
    keep, descend, coupled = P.ApplyMomentum(), P.ApplyGradientDescent(), _coupled(spec, group)
    parameters, momenta = group.parameters, group.buffers.get("momentum_buffer")
    dampened, nesterov = spec.dampening != 0, spec.nesterov

    def update(i: int, gradient: Any, rates: tuple[Any, Any, Any, Any]) -> None:
        lr, momentum, own, _ = rates
        gradient = coupled(i, gradient)
        if momenta is None:
            descend(parameters[i], lr, gradient)
        elif nesterov:
            keep(parameters[i], momenta[i], own, gradient, momentum)
            descend(parameters[i], lr, gradient)
        else:
            keep(parameters[i], momenta[i], lr, own * gradient if dampened else gradient, momentum)

    return update


_ADAM: dict[str, Term] = {
    "name": "P.Adam()",
    "lr": "lr * sqrt(1 - beta2**t) / (1 - beta1**t), given to each step",
    "betas": "beta1={betas[0]}; squares by P.ApplyMomentum({betas[1]})",
    "eps": "epsilon={eps} * sqrt(1 - beta2**t), given to each step",
}


@UPDATES.register(Adam, _ADAM)
@UPDATES.register(
    AdamW, _ADAM | {"weight_decay": "P.ApplyGradientDescent(), weight - lr * {weight_decay} * weight"}
)
def adam(spec: Adam | AdamW, group: Group) -> Update:
    """P.Adam for all but the second moment and the bias correction, where it is not PyTorch's.

    It has eps inside the correction (`scalars` bring PyTorch's) and takes 1 - beta2 in float32, 1e-5 off at
    0.999. So ApplyMomentum at a rate of 0 keeps the squares, and P.Adam gets a beta2 that leaves them alone.
    """
    keep, descend, coupled = P.ApplyMomentum(), P.ApplyGradientDescent(), _coupled(spec, group)
    square, fused = P.Square(), P.Adam()
    parameters, means, squares = group.parameters, group.buffers["exp_avg"], group.buffers["exp_avg_sq"]
    beta2, new = spec.betas[1], 1 - spec.betas[1]
    decoupled, decays, decayed = isinstance(spec, AdamW), spec.weight_decay != 0, group.decayed

    def update(i: int, gradient: Any, rates: tuple[Any, Any, Any, Any]) -> None:
        lr, beta1, eps, decay = rates
        if not decoupled:
            gradient = coupled(i, gradient)
        elif decays and decayed[i]:
            descend(parameters[i], decay, parameters[i])
        keep(parameters[i], squares[i], 0.0, new * square(gradient), beta2)
        fused(parameters[i], means[i], squares[i], 0.0, 0.0, lr, beta1, 1.0, eps, gradient)

    return update


@UPDATES.register(
    RMSprop,
    {
        "name": _kernel,
        "alpha": "squares by P.ApplyMomentum({alpha})",
        "eps": "gradient / (root + {eps})",
        "centered": lambda spec: (
            "P.Sqrt()(squares - P.Square()(means))" if spec.centered else "P.Sqrt()(squares)"
        ),
    },
)
def rmsprop(spec: RMSprop, group: Group) -> Update:
    """The formula: MindSpore's own kernels have eps inside the root."""
    keep, descend, coupled = P.ApplyMomentum(), P.ApplyGradientDescent(), _coupled(spec, group)
    square, sqrt = P.Square(), P.Sqrt()
    parameters, squares = group.parameters, group.buffers["square_avg"]
    means, momenta = group.buffers.get("grad_avg"), group.buffers.get("momentum_buffer")
    alpha, new, eps = spec.alpha, 1 - spec.alpha, spec.eps

    def update(i: int, gradient: Any, rates: tuple[Any, Any, Any, Any]) -> None:
        lr, momentum, _, _ = rates
        gradient = coupled(i, gradient)
        keep(parameters[i], squares[i], 0.0, new * square(gradient), alpha)
        variance = squares[i]
        if means is not None:
            keep(parameters[i], means[i], 0.0, new * gradient, alpha)
            variance = variance - square(means[i])
        direction = gradient / (sqrt(variance) + eps)
        if momenta is None:
            descend(parameters[i], lr, direction)
        else:
            keep(parameters[i], momenta[i], lr, direction, momentum)

    return update


@UPDATES.register(
    Adagrad,
    {
        "name": "P.ApplyAdagradV2()",
        "lr": "lr / (1 + (t - 1) * {lr_decay}), given to each step",
        "lr_decay": "lr / (1 + (t - 1) * {lr_decay})",
        "eps": "epsilon={eps}",
    },
)
def adagrad(spec: Adagrad, group: Group) -> Update:
    """P.ApplyAdagradV2: sum += g^2; w -= lr * g / (sqrt(sum) + eps)."""
    fused, coupled = P.ApplyAdagradV2(spec.eps), _coupled(spec, group)
    parameters, sums = group.parameters, group.buffers["sum"]

    def update(i: int, gradient: Any, rates: tuple[Any, Any, Any, Any]) -> None:
        fused(parameters[i], sums[i], rates[0], coupled(i, gradient))

    return update
