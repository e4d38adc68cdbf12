"""Optimizers as values: names, arguments and defaults are PyTorch's, and so are the formulas.

The formulas themselves stand as code in the NumPy reference backend.
"""

from typing import Annotated, Literal

from pydantic import Field, Strict

from xtrain.spec.base import Fraction, NonNegative, Positive, frozen


@frozen
class SGD:
    """Stochastic gradient descent; g + weight_decay * w goes through the momentum buffer.

    buffer = g at the first step, then momentum * buffer + (1 - dampening) * g;
    w -= lr * (g + momentum * buffer if nesterov else buffer).
    """

    name: Literal["sgd"] = "sgd"
    lr: NonNegative = 1e-3
    momentum: NonNegative = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    weight_decay: NonNegative = 0.0

    def __post_init__(self) -> None:
        if self.nesterov and (self.momentum <= 0 or self.dampening != 0):
            raise ValueError("nesterov needs a momentum above 0 and dampening 0")

    @property
    def buffers(self) -> tuple[str, ...]:
        """Names of the canonical state kept for each parameter."""
        return ("momentum_buffer",) if self.momentum else ()


@frozen
class Adam:
    """Adam with coupled weight decay (g + weight_decay * w) and eps outside the root.

    w -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps).
    """

    name: Literal["adam"] = "adam"
    lr: NonNegative = 1e-3
    betas: Annotated[tuple[Fraction, Fraction], Strict(False)] = (0.9, 0.999)
    eps: Positive = 1e-8
    weight_decay: NonNegative = 0.0

    @property
    def buffers(self) -> tuple[str, ...]:
        """Names of the canonical state kept for each parameter."""
        return ("exp_avg", "exp_avg_sq")


OptimizerSpec = Annotated[SGD | Adam, Field(discriminator="name")]
