"""Scalars of an optimizer's update, worked out in float64 for every backend; a backend rounds each once."""

import math
from dataclasses import dataclass

from xtrain.spec.optimizer import SGD, Adagrad, Adam, AdamW, OptimizerSpec, RMSprop
from xtrain.spec.run import StepInput


@dataclass(frozen=True)
class Rates:
    """What changes from update to update. The formulas that use it stand at `xtrain.spec.optimizer`.

    Args:
        updates: number of updates, this one counted.
        lr: learning rate; Adagrad's is decayed already.
        momentum: SGD's and RMSprop's momentum, Adam's beta1.
        gradient_share: the gradient's share in SGD's momentum buffer: 1 at the first update, which fills the
            buffer with the gradient, then 1 - dampening.
        mean_correction: Adam's 1 - beta1^t, which its first moment is divided by.
        square_correction: Adam's 1 - beta2^t, which its second moment is divided by.
        decay: share that AdamW takes from a weight, lr * weight_decay.
        average_share: share of the weights in their moving average; 1 at the first update, 0 without `ema`.

    """

    updates: int
    lr: float
    momentum: float = 0.0
    gradient_share: float = 1.0
    mean_correction: float = 1.0
    square_correction: float = 1.0
    decay: float = 0.0
    average_share: float = 0.0

    @property
    def nesterov_lr(self) -> float:
        """What Nesterov's momentum takes of the buffer: lr * momentum; of the gradient it takes lr."""
        return self.lr * self.momentum

    @property
    def root_correction(self) -> float:
        """sqrt(1 - beta2^t): times eps it is the eps beside an uncorrected sqrt(v)."""
        return math.sqrt(self.square_correction)

    @property
    def corrected_lr(self) -> float:
        """Adam's learning rate with both corrections in it: lr * sqrt(1 - beta2^t) / (1 - beta1^t)."""
        return self.lr * self.root_correction / self.mean_correction


def rates(spec: OptimizerSpec, step: StepInput, updates: int) -> Rates:
    """The scalars of update number `updates` (counted from 1) at a step."""
    lr, average = step.lr, 0.0
    if spec.ema is not None:
        average = 1.0 if updates == 1 else 1 - spec.ema
    match spec:
        case SGD():
            share = 1.0 if updates == 1 else 1 - spec.dampening
            momentum = _moved(step, spec.momentum)
            return Rates(updates, lr, momentum, gradient_share=share, average_share=average)
        case Adam() | AdamW():
            beta1, beta2 = _moved(step, spec.betas[0]), spec.betas[1]
            return Rates(
                updates,
                lr,
                beta1,
                mean_correction=1 - beta1**updates,
                square_correction=1 - beta2**updates,
                decay=lr * spec.weight_decay if isinstance(spec, AdamW) else 0.0,
                average_share=average,
            )
        case RMSprop():
            return Rates(updates, lr, _moved(step, spec.momentum), average_share=average)
        case Adagrad():
            return Rates(updates, lr / (1 + (updates - 1) * spec.lr_decay), average_share=average)
    raise TypeError(f"{spec!r} is no optimizer")


def _moved(step: StepInput, given: float) -> float:
    """The step's momentum where the schedule moves it, else the optimizer's own."""
    return given if step.momentum is None else step.momentum
