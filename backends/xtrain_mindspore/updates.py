"""Update formulas with their terms: kernels that update in place, where there are any.

P.ApplyMomentum at a rate of 0 keeps a moving sum in a buffer and leaves the parameter alone. A graph compiles
the functions that are made here, and finds in them what they were made with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xtrain.plugins import Lazy
from xtrain.spec import FORMULAS, SGD, Adagrad, Adam, AdamW, Lowerings, OptimizerSpec, Rates, RMSprop, Term

if TYPE_CHECKING:
    from mindspore import Parameter, Tensor

P: Any = Lazy("mindspore.ops.operations")

SHARED: dict[str, Term] = {
    **FORMULAS,
    "lr": "lr, given to each step",
    "clip_value": "P.Minimum()(P.Maximum()(gradient, -{clip_value}), {clip_value})",
    "ema": lambda spec: f"P.ApplyGradientDescent(), {1 - spec.ema:.6g} of weight - average",
}
"""Terms of the keys that every optimizer has; what is not named here is an argument of the same name."""


def scalars(spec: OptimizerSpec, rates: Rates) -> tuple[float, float, float, float, float]:
    """What a graph is given: lr, momentum, a scalar of the formula's own, decay, average share.

    Its own is Adam's eps, what Nesterov's momentum takes of the buffer, or the gradient's share in a buffer.
    """
    own = rates.gradient_share
    if isinstance(spec, Adam | AdamW):
        own = spec.eps * rates.root_correction
    elif isinstance(spec, SGD) and spec.nesterov:
        own = rates.nesterov_lr
    return rates.corrected_lr, rates.momentum, own, rates.decay, rates.average_share


Update = Callable[..., None]
"""Updates a parameter, given its gradient, the first three of `scalars`, and its buffers in their order."""
Scalars = tuple["Tensor", "Tensor", "Tensor"]

UPDATES: Lowerings[Callable[[Any], Update]] = Lowerings("mindspore", "optimizer")


def _kernel(spec: SGD | RMSprop) -> str:
    return "P.ApplyMomentum()" if spec.momentum else "P.ApplyGradientDescent()"


@UPDATES.register(
    SGD,
    {
        "name": _kernel,
        "dampening": lambda spec: f"the gradient times {1 - spec.dampening:g}, from the second step on",
        "nesterov": lambda spec: "at lr * momentum, then P.ApplyGradientDescent()" if spec.nesterov else "no",
    },
)
def sgd(spec: SGD) -> Update:
    """w -= lr * buffer; Nesterov's lr * (g + momentum * buffer) in two parts."""
    keep, descend = P.ApplyMomentum(), P.ApplyGradientDescent()
    moving, dampened, nesterov = spec.momentum != 0, spec.dampening != 0, spec.nesterov

    def update(parameter: Parameter, gradient: Tensor, now: Scalars, *buffers: Parameter) -> None:
        lr, momentum, share = now
        if not moving:
            descend(parameter, lr, gradient)
        elif nesterov:
            keep(parameter, buffers[0], share, gradient, momentum)
            descend(parameter, lr, gradient)
        else:
            keep(parameter, buffers[0], lr, share * gradient if dampened else gradient, momentum)

    return update


_ADAM: dict[str, Term] = {
    "name": "P.Adam()",
    "lr": "lr * sqrt(1 - beta2**t) / (1 - beta1**t), given to each step",
    "betas": "beta1={betas[0]}; squares by P.ApplyMomentum({betas[1]})",
    "eps": "epsilon={eps} * sqrt(1 - beta2**t), given to each step",
}
_DECOUPLED: Term = "P.ApplyGradientDescent(), weight - lr * {weight_decay} * weight"


@UPDATES.register(Adam, _ADAM)
@UPDATES.register(AdamW, _ADAM | {"weight_decay": _DECOUPLED})
def adam(spec: Adam | AdamW) -> Update:
    """P.Adam for all but the second moment and the bias correction, where it is not PyTorch's.

    It has eps inside the correction (`scalars` brings PyTorch's) and takes 1 - beta2 in float32, 1e-5 off at
    0.999. So ApplyMomentum at a rate of 0 keeps the squares, and P.Adam gets a beta2 that leaves them alone.
    """
    keep, square, fused = P.ApplyMomentum(), P.Square(), P.Adam()
    beta2, new = spec.betas[1], 1 - spec.betas[1]

    def update(
        parameter: Parameter, gradient: Tensor, now: Scalars, mean: Parameter, squares: Parameter
    ) -> None:
        lr, beta1, eps = now
        keep(parameter, squares, 0.0, new * square(gradient), beta2)
        fused(parameter, mean, squares, 0.0, 0.0, lr, beta1, 1.0, eps, gradient)

    return update


@UPDATES.register(
    RMSprop,
    {
        "name": _kernel,
        "alpha": "squares by P.ApplyMomentum({alpha})",
        "eps": "gradient / (root + {eps})",
        "centered": lambda spec: f"P.Sqrt()(squares{' - P.Square()(mean)' if spec.centered else ''})",
    },
)
def rmsprop(spec: RMSprop) -> Update:
    """The formula: MindSpore's own kernels have eps inside the root."""
    keep, descend, square, sqrt = P.ApplyMomentum(), P.ApplyGradientDescent(), P.Square(), P.Sqrt()
    alpha, new, eps = spec.alpha, 1 - spec.alpha, spec.eps
    moving, centered = spec.momentum != 0, spec.centered

    def update(
        parameter: Parameter, gradient: Tensor, now: Scalars, squares: Parameter, *buffers: Parameter
    ) -> None:
        lr, momentum, _ = now
        keep(parameter, squares, 0.0, new * square(gradient), alpha)
        variance = squares
        if centered:
            keep(parameter, buffers[-1], 0.0, new * gradient, alpha)
            variance = variance - square(buffers[-1])
        direction = gradient / (sqrt(variance) + eps)
        if moving:
            keep(parameter, buffers[0], lr, direction, momentum)
        else:
            descend(parameter, lr, direction)

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
def adagrad(spec: Adagrad) -> Update:
    """P.ApplyAdagradV2: sum += g^2; w -= lr * g / (sqrt(sum) + eps)."""
    fused = P.ApplyAdagradV2(spec.eps)

    def update(parameter: Parameter, gradient: Tensor, now: Scalars, total: Parameter) -> None:
        fused(parameter, total, now[0], gradient)

    return update
