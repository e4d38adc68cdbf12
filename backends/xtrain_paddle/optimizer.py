"""Lowered optimizers: Paddle's update kernels, and its tensor operations where those are not exact."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, _C_ops

from xtrain.errors import UnsupportedError
from xtrain.spec import SGD, Adagrad, Adam, AdamW, OptimizerSpec, RMSprop, State, StepInput
from xtrain_paddle.model import PaddleModel

_ADAM: Any = _C_ops.adam_  # its stub leaves out that most of its tensors may be None
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
        self._decayed = spec.decayed(model.spec)
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
        with paddle.no_grad():
            self._prepare()
            update = self._lower(Now(step.lr, step.momentum, self._updates))
            for name, parameter in self._parameters.items():
                update(parameter, parameter.grad, self._buffers[name], name in self._decayed)
            if self._spec.ema is not None:
                self._average(1.0 if self._updates == 1 else 1 - self._spec.ema)

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

    def _prepare(self) -> None:
        """Penalties, then clipping by value, then by the norm of all together."""
        spec, parameters = self._spec, self._parameters.values()
        if spec.l1 or spec.l2:
            l1, l2 = _scalar(-spec.l1), _scalar(-spec.l2)
            for parameter in (self._parameters[name] for name in self._decayed):
                if spec.l1:
                    _subtract(parameter.grad, l1, paddle.sign(parameter))
                if spec.l2:
                    _subtract(parameter.grad, l2, parameter)
        if spec.clip_value is not None:
            paddle.nn.utils.clip_grad_value_(parameters, spec.clip_value)
        if spec.clip_norm is not None:
            self._clip_norm(spec.clip_norm)

    def _clip_norm(self, most: float) -> None:
        """As nn.utils.clip_grad_norm_, whose own norm adds up one square after the other.

        Of 400,000 equal values it is 2e-3 off on the CPU, and takes 70 times as long.
        """
        gradients: list[Any] = [parameter.grad for parameter in self._parameters.values()]
        squares = paddle.concat([_C_ops.squared_l2_norm(gradient) for gradient in gradients])
        scale = (most / (squares.sum().sqrt() + 1e-6)).clip(max=1.0)
        for gradient in gradients:
            gradient.multiply_(scale)

    def _average(self, share: float) -> None:
        """Move the averages of the weights towards them; lerp_ takes four times as long."""
        gain = _scalar(-share)
        for name, parameter in self._parameters.items():
            _subtract(self._buffers[name]["ema"].scale_(1 - share), gain, parameter)


@dataclass(frozen=True)
class Now:
    """What changes from update to update; `updates` counts this one."""

    lr: float
    momentum: float | None
    updates: int


Update = Callable[[Tensor, Any, dict[str, Tensor], bool], None]
"""Parameter, gradient, buffers, and whether it decays: all of them change in place."""


def sgd(spec: SGD, now: Now) -> Update:
    """The kernels of SGD and Momentum."""
    rate, decay = _scalar(now.lr), _scalar(-spec.weight_decay)
    gain = 1.0 if now.updates == 1 else 1 - spec.dampening  # the buffer, still zero, starts at the gradient
    momentum = _or(now.momentum, spec.momentum)

    def update(w: Tensor, g: Tensor, held: dict[str, Tensor], decayed: bool) -> None:
        if spec.weight_decay and decayed:
            _subtract(g, decay, w)
        if not spec.momentum:
            _subtract(w, rate, g)
            return
        if gain != 1:  # momentum_ has a factor for it, which its CPU kernel leaves out
            g.scale_(gain)
        buffer = held["momentum_buffer"]
        _C_ops.momentum_(w, g, buffer, rate, _NO_COPY, momentum, spec.nesterov, "", 0.0, False, 1.0)

    return update


def adam(spec: Adam | AdamW, now: Now) -> Update:
    """The kernel of Adam; AdamW's too, once the parameter has decayed.

    `adam_` takes 1 - beta from a beta already rounded to float32: for 0.999 that is 1.3e-5 off. So exp_avg
    moves before it, the gradient is scaled to what gives the right exp_avg_sq, and lr and eps bring the bias
    corrections along. In tensor operations alone the update would take half as long again.
    """
    beta1, beta2 = _or(now.momentum, spec.betas[0]), spec.betas[1]
    scale = math.sqrt((1 - beta2) / (1 - float(np.float32(beta2))))
    decay, gain = _scalar(-spec.weight_decay), _scalar((beta1 - 1) / scale)
    correction = math.sqrt(1 - beta2**now.updates)
    rate, eps = _scalar(now.lr * correction / (1 - beta1**now.updates)), spec.eps * correction
    no_power = paddle.to_tensor([0.0], place="cpu")

    def update(w: Tensor, g: Tensor, held: dict[str, Tensor], decayed: bool) -> None:
        if spec.weight_decay and decayed:
            if isinstance(spec, AdamW):
                w.scale_(1 - now.lr * spec.weight_decay)
            else:
                _subtract(g, decay, w)
        g.scale_(scale)
        exp_avg = _subtract(held["exp_avg"].scale_(beta1), gain, g)
        _ADAM(
            *(w, g, rate, exp_avg, held["exp_avg_sq"], None, no_power, no_power, None, None),
            *(1.0, beta2, eps, False, 1000, False, True, False),
        )

    return update


def rmsprop(spec: RMSprop, now: Now) -> Update:
    """Tensor operations: the kernel of RMSProp has eps inside the root."""
    rate, decay, gain = _scalar(now.lr), _scalar(-spec.weight_decay), _scalar(spec.alpha - 1)
    one, momentum = _scalar(-1.0), _or(now.momentum, spec.momentum)

    def update(w: Tensor, g: Tensor, held: dict[str, Tensor], decayed: bool) -> None:
        if spec.weight_decay and decayed:
            _subtract(g, decay, w)
        variance = _subtract(held["square_avg"].scale_(spec.alpha), gain, g * g)
        if spec.centered:
            mean = _subtract(held["grad_avg"].scale_(spec.alpha), gain, g)
            variance = variance - mean * mean
        d = g / paddle.sqrt(variance).scale_(1.0, spec.eps)
        if spec.momentum:
            d = _subtract(held["momentum_buffer"].scale_(momentum), one, d)
        _subtract(w, rate, d)

    return update


def adagrad(spec: Adagrad, now: Now) -> Update:
    """The kernel of Adagrad."""
    rate = _scalar(now.lr / (1 + (now.updates - 1) * spec.lr_decay))
    decay = _scalar(-spec.weight_decay)

    def update(w: Tensor, g: Tensor, held: dict[str, Tensor], decayed: bool) -> None:
        if spec.weight_decay and decayed:
            _subtract(g, decay, w)
        _C_ops.adagrad_(w, g, held["sum"], rate, _NO_COPY, spec.eps, False)

    return update


def _or(moved: float | None, given: float) -> float:
    return given if moved is None else moved


def _lower(spec: OptimizerSpec) -> Callable[[Now], Update]:
    match spec:
        case SGD():
            return lambda now: sgd(spec, now)
        case Adam() | AdamW():
            if np.float32(spec.betas[1]) == 1:
                raise UnsupportedError(
                    f"backend paddle takes {spec.betas[1]!r}, the second of Adam's betas, for 1"
                )
            return lambda now: adam(spec, now)
        case RMSprop():
            return lambda now: rmsprop(spec, now)
        case Adagrad():
            return lambda now: adagrad(spec, now)
    raise UnsupportedError(f"backend paddle has no optimizer {spec!r}")


def _scalar(value: float) -> Tensor:
    return paddle.full([1], value, dtype="float32")


def _subtract(tensor: Any, scale: Tensor, other: Tensor) -> Any:
    """tensor -= scale * other in one pass over memory."""
    _C_ops.sgd_(tensor, scale, other, _NO_COPY, False)
    return tensor
