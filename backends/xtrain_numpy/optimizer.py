"""Lowered optimizers: the formulas, as PyTorch documents them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xtrain.errors import UnsupportedError
from xtrain.spec import SGD, Adagrad, Adam, AdamW, OptimizerSpec, RMSprop, State, StepInput
from xtrain_numpy.forward import Array
from xtrain_numpy.model import NumpyModel


class NumpyOptimizer:
    """An update formula over the model's parameters, with canonical state."""

    def __init__(self, spec: OptimizerSpec, model: NumpyModel) -> None:
        self._spec = spec
        self._parameters = {name: model.tensors[name] for name in model.spec.trainable}
        self._buffers: dict[str, dict[str, Array]] = {
            name: {buffer: np.zeros_like(parameter) for buffer in spec.buffers}
            for name, parameter in self._parameters.items()
        }
        self._update = _lower(spec)
        self._decayed = spec.decayed(model.spec)
        self._updates = 0

    def step(self, gradients: State, step: StepInput) -> None:
        """Update the parameters from given gradients."""
        self._updates += 1
        ready = self._prepared(gradients)
        for name, parameter in self._parameters.items():
            decay = self._spec.weight_decay if name in self._decayed else 0.0
            now = Now(step.lr, step.momentum, decay, self._updates)
            held = self._buffers[name]
            self._update(parameter, ready[name], held, now)
            if self._spec.ema is not None:
                share = 1.0 if self._updates == 1 else 1 - self._spec.ema
                held["ema"] += share * (parameter - held["ema"])

    def _prepared(self, gradients: State) -> State:
        """Penalties, then clipping by value, then by the norm of all together."""
        spec, ready = self._spec, {}
        for name, parameter in self._parameters.items():
            g = gradients[name].astype(np.float64)
            if name in self._decayed:
                g = g + spec.l1 * np.sign(parameter) + spec.l2 * parameter
            ready[name] = g if spec.clip_value is None else np.clip(g, -spec.clip_value, spec.clip_value)
        if spec.clip_norm is not None:
            norm = np.sqrt(sum((g**2).sum() for g in ready.values()))
            scale = min(1.0, spec.clip_norm / (norm + 1e-6))
            ready = {name: g * scale for name, g in ready.items()}
        return ready

    def state(self) -> State:
        """`step` and each parameter's buffers; zeros before the first update."""
        state: State = {"step": np.array(self._updates, dtype=np.int64)}
        for name, held in self._buffers.items():
            state |= {f"{name}/{buffer}": value.copy() for buffer, value in held.items()}
        return state

    def load(self, state: State) -> None:
        """Take over what `state` gave."""
        self._updates = int(state["step"])
        for name, held in self._buffers.items():
            for buffer, value in held.items():
                value[...] = state[f"{name}/{buffer}"]


@dataclass(frozen=True)
class Now:
    """What changes from update to update, or from parameter to parameter."""

    lr: float
    momentum: float | None
    weight_decay: float
    updates: int


Update = Callable[[Array, Array, dict[str, Array], Now], None]
"""Parameter, gradient and buffers, in place. `Now.updates` counts this one."""


def sgd(spec: SGD) -> Update:
    """torch.optim.SGD: the first update fills the momentum buffer with the gradient, undampened."""

    def update(w: Array, g: Array, held: dict[str, Array], now: Now) -> None:
        g = g + now.weight_decay * w
        if spec.momentum:
            buffer, momentum = held["momentum_buffer"], _or(now.momentum, spec.momentum)
            buffer[...] = g if now.updates == 1 else momentum * buffer + (1 - spec.dampening) * g
            g = g + momentum * buffer if spec.nesterov else buffer
        w -= now.lr * g

    return update


def adam(spec: Adam | AdamW) -> Update:
    """torch.optim.Adam and AdamW: both moments corrected for their start at zero, eps outside the root."""

    def update(w: Array, g: Array, held: dict[str, Array], now: Now) -> None:
        beta1, beta2, t = _or(now.momentum, spec.betas[0]), spec.betas[1], now.updates
        if isinstance(spec, AdamW):
            w *= 1 - now.lr * now.weight_decay
        else:
            g = g + now.weight_decay * w
        m, v = held["exp_avg"], held["exp_avg_sq"]
        m[...] = beta1 * m + (1 - beta1) * g
        v[...] = beta2 * v + (1 - beta2) * g**2
        w -= now.lr / (1 - beta1**t) * m / (np.sqrt(v / (1 - beta2**t)) + spec.eps)

    return update


def rmsprop(spec: RMSprop) -> Update:
    """torch.optim.RMSprop: eps outside the root, the momentum buffer without lr."""

    def update(w: Array, g: Array, held: dict[str, Array], now: Now) -> None:
        g = g + now.weight_decay * w
        v = held["square_avg"]
        v[...] = spec.alpha * v + (1 - spec.alpha) * g**2
        variance = v
        if spec.centered:
            a = held["grad_avg"]
            a[...] = spec.alpha * a + (1 - spec.alpha) * g
            variance = v - a**2
        d = g / (np.sqrt(variance) + spec.eps)
        if spec.momentum:
            buffer = held["momentum_buffer"]
            buffer[...] = _or(now.momentum, spec.momentum) * buffer + d
            d = buffer
        w -= now.lr * d

    return update


def adagrad(spec: Adagrad) -> Update:
    """torch.optim.Adagrad."""

    def update(w: Array, g: Array, held: dict[str, Array], now: Now) -> None:
        g = g + now.weight_decay * w
        held["sum"] += g**2
        w -= now.lr / (1 + (now.updates - 1) * spec.lr_decay) * g / (np.sqrt(held["sum"]) + spec.eps)

    return update


def _or(moved: float | None, given: float) -> float:
    return given if moved is None else moved


def _lower(spec: OptimizerSpec) -> Update:
    match spec:
        case SGD():
            return sgd(spec)
        case Adam() | AdamW():
            return adam(spec)
        case RMSprop():
            return rmsprop(spec)
        case Adagrad():
            return adagrad(spec)
    raise UnsupportedError(f"backend numpy has no optimizer {spec!r}")
