"""Optimizers as values: names, arguments and defaults are PyTorch's, and so are the formulas.

The formulas themselves stand as code in the NumPy reference backend.
"""

from typing import Annotated, Literal

from pydantic import Strict

from xtrain.spec.base import Fraction, NonNegative, Positive, frozen
from xtrain.spec.layers import BatchNorm2d
from xtrain.spec.model import ModelSpec
from xtrain.spec.parts import Parts

Undecayed = Literal["bias", "norm"]


@frozen
class Optimizer:
    """What every optimizer has.

    A gradient g of the loss goes through g + l1 * sign(w) + l2 * w, then is cut to +-clip_value, then all
    of them together scaled to a norm of clip_norm at most, and then given to the optimizer.

    Args:
        name: which optimizer it is.
        lr: learning rate, before the schedule.
        weight_decay: each optimizer's own; coupled (g + weight_decay * w) but for AdamW.
        decay_exclude: what weight_decay, l1 and l2 leave alone: `bias`es, parameters of `norm` layers.
        l1, l2: penalties; the loss that is reported leaves them out.
        clip_value, clip_norm: as torch.nn.utils.clip_grad_value_ and clip_grad_norm_ have it.
        ema: decay of an exponential moving average of the weights, which evaluation then uses; after the
            first update it is the weights, then ema * average + (1 - ema) * weights.

    """

    name: str
    lr: NonNegative = 1e-3
    weight_decay: NonNegative = 0.0
    decay_exclude: Annotated[tuple[Undecayed, ...], Strict(False)] = ()
    l1: NonNegative = 0.0
    l2: NonNegative = 0.0
    clip_value: Positive | None = None
    clip_norm: Positive | None = None
    ema: Fraction | None = None

    @property
    def moments(self) -> tuple[str, ...]:
        """Names of what the update formula itself keeps for each parameter."""
        return ()

    @property
    def buffers(self) -> tuple[str, ...]:
        """Names of the canonical state kept for each parameter: the moments, and `ema`."""
        return self.moments if self.ema is None else (*self.moments, "ema")

    def decayed(self, model: ModelSpec) -> frozenset[str]:
        """Names of the parameters that weight_decay, l1 and l2 apply to."""
        return frozenset(
            f"{node.path}.{name}"
            for node in model.walk()
            for name, tensor in node.layer.tensors(node.input_shape).items()
            if tensor.trainable
            and not ("norm" in self.decay_exclude and isinstance(node.layer, BatchNorm2d))
            and not ("bias" in self.decay_exclude and name.startswith("bias"))
        )


OPTIMIZERS = Parts[Optimizer]("Optimizer", "", "name", ())
"""Ours alone: a formula is compiled into each backend's step (docs/decisions/closed-optimizers.md)."""


@OPTIMIZERS.register
@frozen
class SGD(Optimizer):
    """Stochastic gradient descent; g + weight_decay * w goes through the momentum buffer.

    buffer = g at the first step, then momentum * buffer + (1 - dampening) * g;
    w -= lr * (g + momentum * buffer if nesterov else buffer).
    """

    name: Literal["sgd"] = "sgd"
    momentum: NonNegative = 0.0
    dampening: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        if self.nesterov and (self.momentum <= 0 or self.dampening != 0):
            raise ValueError("nesterov needs a momentum above 0 and dampening 0")

    @property
    def moments(self) -> tuple[str, ...]:
        """The momentum buffer, where there is a momentum."""
        return ("momentum_buffer",) if self.momentum else ()


@frozen
class _Adam(Optimizer):
    """What Adam and AdamW share.

    Args:
        betas: how much of the first and of the second moment is kept in a step.
        eps: is added to the root of the second moment.

    """

    betas: Annotated[tuple[Fraction, Fraction], Strict(False)] = (0.9, 0.999)
    eps: Positive = 1e-8

    @property
    def moments(self) -> tuple[str, ...]:
        """First and second moment."""
        return ("exp_avg", "exp_avg_sq")


@OPTIMIZERS.register
@frozen
class Adam(_Adam):
    """Adam with coupled weight decay (g + weight_decay * w) and eps outside the root.

    w -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps).
    """

    name: Literal["adam"] = "adam"


@OPTIMIZERS.register
@frozen
class AdamW(_Adam):
    """Adam, but w *= 1 - lr * weight_decay before the update, in place of the coupled decay."""

    name: Literal["adamw"] = "adamw"
    weight_decay: NonNegative = 1e-2


@OPTIMIZERS.register
@frozen
class RMSprop(Optimizer):
    """v = alpha * v + (1 - alpha) * g^2; d = g / (sqrt(v) + eps), eps outside the root.

    `centered`: a = alpha * a + (1 - alpha) * g, and v - a^2 under the root. With a momentum
    buffer = momentum * buffer + d, without lr, and w -= lr * buffer; else w -= lr * d.
    """

    name: Literal["rmsprop"] = "rmsprop"
    lr: NonNegative = 1e-2
    alpha: Fraction = 0.99
    eps: Positive = 1e-8
    momentum: NonNegative = 0.0
    centered: bool = False

    @property
    def moments(self) -> tuple[str, ...]:
        """Mean square; momentum buffer and mean gradient where they are used."""
        momentum = ("momentum_buffer",) if self.momentum else ()
        return ("square_avg", *momentum, *(("grad_avg",) if self.centered else ()))


@OPTIMIZERS.register
@frozen
class Adagrad(Optimizer):
    """s += g^2; w -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)."""

    name: Literal["adagrad"] = "adagrad"
    lr: NonNegative = 1e-2
    lr_decay: NonNegative = 0.0
    eps: Positive = 1e-10

    @property
    def moments(self) -> tuple[str, ...]:
        """Sum of squares."""
        return ("sum",)


OptimizerSpec = Annotated[SGD | Adam | AdamW | RMSprop | Adagrad, OPTIMIZERS]
