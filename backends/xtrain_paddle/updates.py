"""Update formulas with their terms: Paddle's kernels, and its tensor operations where those are not exact."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from xtrain.plugins import Lazy
from xtrain.spec import FORMULAS, SGD, Adagrad, Adam, AdamW, Lowerings, OptimizerSpec, Rates, RMSprop, Term

if TYPE_CHECKING:
    from paddle import Tensor

paddle: Any = Lazy("paddle")
_C_ops: Any = Lazy("paddle._C_ops")

SHARED: dict[str, Term] = {
    **FORMULAS,
    "lr": "learning_rate, a tensor made at each step",
    "clip_value": "nn.utils.clip_grad_value_({clip_value})",
    "betas": "beta1={betas[0]}, beta2={betas[1]}",
    "eps": "epsilon={eps}",
}
"""Terms of the keys that several optimizers have; a key without a term is an argument of the same name."""


@dataclass(frozen=True)
class Group:
    """All parameters, their buffers in the same order, and which of them decay."""

    parameters: list[Tensor]
    buffers: dict[str, list[Tensor]]
    decayed: list[bool]

    def rows(self, spec: OptimizerSpec, rates: Rates, *names: str) -> Iterator[Any]:
        """Each parameter after its weight decay, with its gradient and its buffers of these names.

        A buffer that the optimizer does not keep is None. A parameter decays right before its update, which
        then finds it in the processor's cache.
        """
        decay: Any = scalar(-spec.weight_decay) if any(self.decayed) else None
        buffers = [self.buffers.get(name, repeat(None)) for name in names]
        for w, decayed, *rest in zip(self.parameters, self.decayed, *buffers, strict=False):
            g = w.grad
            if decayed and isinstance(spec, AdamW):
                w.scale_(1 - rates.decay)
            elif decayed:
                subtract(g, decay, w)
            yield w, g, *rest


def scalar(value: float) -> Any:
    """Float32 [1] on the device."""
    return paddle.full([1], value, dtype="float32")


def subtract(tensor: Any, scale: Tensor, other: Any) -> Any:
    """tensor -= scale * other in one pass over memory."""
    _C_ops.sgd_(tensor, scale, other, None, False)
    return tensor


UPDATES: Lowerings[Callable[[Any, Group, Rates], None]] = Lowerings("paddle", "optimizer")


@UPDATES.register(
    SGD,
    {
        "name": lambda spec: (
            "paddle._C_ops.momentum_, of paddle.optimizer.Momentum"
            if spec.momentum
            else "paddle._C_ops.sgd_, of paddle.optimizer.SGD"
        ),
        "dampening": lambda spec: f"g * {1 - spec.dampening:g} from the second step on",
        "nesterov": "use_nesterov={nesterov}",
    },
)
def sgd(spec: SGD, group: Group, rates: Rates) -> None:
    """The kernels of SGD and Momentum."""
    lr, share = scalar(rates.lr), rates.gradient_share
    for w, g, buffer in group.rows(spec, rates, "momentum_buffer"):
        if buffer is None:
            subtract(w, lr, g)
            continue
        if share != 1:  # momentum_ has a factor for it, which its CPU kernel leaves out
            g.scale_(share)
        _C_ops.momentum_(w, g, buffer, lr, None, rates.momentum, spec.nesterov, "", 0.0, False, 1.0)


@UPDATES.register(Adam, {"name": "paddle._C_ops.adam_, of paddle.optimizer.Adam, exp_avg moved before it"})
@UPDATES.register(
    AdamW,
    {
        "name": "paddle._C_ops.adam_, of paddle.optimizer.Adam, exp_avg moved before it",
        "weight_decay": "w * (1 - lr * {weight_decay:g})",
    },
)
def adam(spec: Adam | AdamW, group: Group, rates: Rates) -> None:
    """The kernel of Adam; AdamW's too, once the parameter has decayed.

    `adam_` takes 1 - beta from a beta already rounded to float32: for 0.999 that is 1.3e-5 off. So exp_avg
    moves before it, the gradient is scaled to what gives the right exp_avg_sq, and lr and eps bring the bias
    corrections along. In tensor operations alone the update would take half as long again.
    """
    beta1, beta2, no_power = rates.momentum, spec.betas[1], _no_power()
    scale = math.sqrt((1 - beta2) / (1 - float(np.float32(beta2))))
    lr, share, eps = scalar(rates.corrected_lr), scalar((beta1 - 1) / scale), spec.eps * rates.root_correction
    for w, g, exp_avg, exp_avg_sq in group.rows(spec, rates, "exp_avg", "exp_avg_sq"):
        g.scale_(scale)
        subtract(exp_avg.scale_(beta1), share, g)
        tensors = (w, g, lr, exp_avg, exp_avg_sq, None, no_power, no_power, None, None)
        _C_ops.adam_(*tensors, 1.0, beta2, eps, False, 1000, False, True, False)


@functools.cache
def _no_power() -> Any:
    """What `adam_` takes for the betas' powers, and is told neither to use nor to change."""
    return paddle.to_tensor([0.0], place="cpu")


@UPDATES.register(
    RMSprop,
    {
        "name": "paddle.sqrt, and the rest of paddle.optimizer.RMSProp's formula, epsilon outside the root",
        "alpha": "rho={alpha}",
    },
)
def rmsprop(spec: RMSprop, group: Group, rates: Rates) -> None:
    """Tensor operations: the kernel of RMSProp has eps inside the root."""
    lr, share, one = scalar(rates.lr), scalar(spec.alpha - 1), scalar(-1.0)
    names = ("square_avg", "grad_avg", "momentum_buffer")
    for w, g, square_avg, grad_avg, buffer in group.rows(spec, rates, *names):
        variance = subtract(square_avg.scale_(spec.alpha), share, g * g)
        if spec.centered:
            subtract(grad_avg.scale_(spec.alpha), share, g)
            variance = variance - grad_avg * grad_avg
        d = g / paddle.sqrt(variance).scale_(1.0, spec.eps)
        if spec.momentum:
            d = subtract(buffer.scale_(rates.momentum), one, d)
        subtract(w, lr, d)


_DECAYED = "learning_rate / (1 + (t - 1) * {lr_decay})"


@UPDATES.register(
    Adagrad, {"name": "paddle._C_ops.adagrad_, of paddle.optimizer.Adagrad", "lr_decay": _DECAYED}
)
def adagrad(spec: Adagrad, group: Group, rates: Rates) -> None:
    """The kernel of Adagrad; its lr is decayed already."""
    lr = scalar(rates.lr)
    for w, g, total in group.rows(spec, rates, "sum"):
        _C_ops.adagrad_(w, g, total, lr, None, spec.eps, False)
