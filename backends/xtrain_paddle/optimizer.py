"""Lowered optimizers: Paddle's update kernels, and its tensor operations where those are not exact."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, _C_ops

from xtrain.errors import UnsupportedError
from xtrain.spec import SGD, Adam, OptimizerSpec, State, StepInput
from xtrain_paddle.model import PaddleModel

_ADAM: Any = _C_ops.adam_  # its stub leaves out that most of its tensors may be None

Update = Callable[..., None]
"""Parameter, gradient and each buffer of the spec, in its order: all but the gradient change in place."""


_NO_COPY: Any = None  # of the parameter in a higher precision; the stubs do not know that it is left out


class PaddleOptimizer:
    """The buffers stand here, because paddle.optimizer names them by counters of the whole process."""

    def __init__(self, spec: OptimizerSpec, model: PaddleModel) -> None:
        self._spec, self._model = spec, model
        self._parameters = {name: model.tensors[name] for name in model.spec.trainable}
        self._buffers = {
            name: {buffer: paddle.zeros_like(parameter) for buffer in spec.buffers}
            for name, parameter in self._parameters.items()
        }
        self._lower = _lower(spec)
        self._updates = 0

    def step(self, gradients: State, step: StepInput) -> None:
        """Update the parameters from given gradients."""
        for name, parameter in self._parameters.items():
            given = self._model.from_canonical(name, gradients[name])
            parameter.grad = paddle.to_tensor(given, place=parameter.place)
        self.apply(step)
        self.clear()

    def apply(self, step: StepInput) -> None:
        """Update the parameters from the gradients they hold, which are used up by it."""
        self._updates += 1
        update = self._lower(step.lr, self._updates)
        with paddle.no_grad():
            for name, parameter in self._parameters.items():
                update(parameter, parameter.grad, *self._buffers[name].values())

    def clear(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters.values():
            parameter.clear_gradient(set_to_zero=False)

    def state(self) -> State:
        """`step` and each parameter's buffers; zeros before the first update."""
        state: State = {"step": np.array(self._updates, dtype=np.int64)}
        for name, buffers in self._buffers.items():
            for buffer, value in buffers.items():
                state[f"{name}/{buffer}"] = self._model.to_canonical(name, value)
        return state

    def load(self, state: State) -> None:
        """Take over what `state` gave."""
        self._updates = int(state["step"])
        for name, buffers in self._buffers.items():
            for buffer, value in buffers.items():
                value.set_value(self._model.from_canonical(name, state[f"{name}/{buffer}"]))


def _lower(spec: OptimizerSpec) -> Callable[[float, int], Update]:
    match spec:
        case SGD():
            return lambda lr, updates: _sgd(spec, lr, updates)
        case Adam():
            if np.float32(spec.betas[1]) == 1:
                raise UnsupportedError(
                    f"backend paddle takes {spec.betas[1]!r}, the second of Adam's betas, for 1"
                )
            return lambda lr, updates: _adam(spec, lr, updates)
    raise UnsupportedError(f"backend paddle has no optimizer {spec!r}")


def _sgd(spec: SGD, lr: float, updates: int) -> Update:
    """The update number `updates`, counted from 1."""
    rate, decay = _scalar(lr), _scalar(-spec.weight_decay)
    gain = 1.0 if updates == 1 else 1 - spec.dampening  # the buffer, still zero, starts at the gradient

    def update(parameter: Tensor, gradient: Tensor, buffer: Tensor | None = None) -> None:
        if spec.weight_decay:
            _subtract(gradient, decay, parameter)
        if buffer is None:
            _subtract(parameter, rate, gradient)
            return
        if gain != 1:  # momentum_ has a factor for it, which its CPU kernel leaves out
            gradient.scale_(gain)
        _C_ops.momentum_(
            parameter, gradient, buffer, rate, _NO_COPY, spec.momentum, spec.nesterov, "", 0.0, False, 1.0
        )

    return update


def _adam(spec: Adam, lr: float, updates: int) -> Update:
    """The update number `updates`, counted from 1.

    `adam_` takes 1 - beta from a beta already rounded to float32: for 0.999 that is 1.3e-5 off. So exp_avg
    moves before it, the gradient is scaled to what gives the right exp_avg_sq, and lr and eps bring the bias
    corrections along. In tensor operations alone the update would take half as long again.
    """
    beta1, beta2 = spec.betas
    scale = math.sqrt((1 - beta2) / (1 - float(np.float32(beta2))))
    decay, gain = _scalar(-spec.weight_decay), _scalar((beta1 - 1) / scale)
    correction = math.sqrt(1 - beta2**updates)
    rate, eps = _scalar(lr * correction / (1 - beta1**updates)), spec.eps * correction
    no_power = paddle.to_tensor([0.0], place="cpu")

    def update(parameter: Tensor, gradient: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor) -> None:
        if spec.weight_decay:
            _subtract(gradient, decay, parameter)
        gradient.scale_(scale)
        _subtract(exp_avg.scale_(beta1), gain, gradient)
        _ADAM(
            *(parameter, gradient, rate, exp_avg, exp_avg_sq, None, no_power, no_power, None, None),
            *(1.0, beta2, eps, False, 1000, False, True, False),
        )

    return update


def _scalar(value: float) -> Tensor:
    return paddle.full([1], value, dtype="float32")


def _subtract(tensor: Tensor, scale: Tensor, other: Tensor) -> None:
    """tensor -= scale * other in one pass over memory."""
    _C_ops.sgd_(tensor, scale, other, _NO_COPY, False)
