"""Lowered optimizers: the formulas, as PyTorch documents them."""

from collections.abc import Callable

import numpy as np

from xtrain.errors import UnsupportedError
from xtrain.spec import SGD, Adam, OptimizerSpec, State, StepInput
from xtrain_numpy.model import Array, NumpyModel


class NumpyOptimizer:
    """An update formula over the model's parameters, with canonical state."""

    def __init__(self, spec: OptimizerSpec, model: NumpyModel) -> None:
        self._parameters = {name: model.tensors[name] for name in model.spec.trainable}
        self._buffers: dict[str, dict[str, Array]] = {
            name: {buffer: np.zeros_like(parameter) for buffer in spec.buffers}
            for name, parameter in self._parameters.items()
        }
        self._update = _lower(spec)
        self._updates = 0

    def step(self, gradients: State, step: StepInput) -> None:
        """Update the parameters from given gradients."""
        self._updates += 1
        for name, parameter in self._parameters.items():
            gradient = gradients[name].astype(np.float64)
            self._update(parameter, gradient, self._buffers[name], step.lr, self._updates)

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


Update = Callable[[Array, Array, dict[str, Array], float, int], None]
"""(parameter, gradient, buffers, lr, updates made with this one), in place."""


def sgd(spec: SGD) -> Update:
    """torch.optim.SGD: the first update fills the momentum buffer with the gradient, undampened."""

    def update(w: Array, g: Array, held: dict[str, Array], lr: float, t: int) -> None:
        g = g + spec.weight_decay * w
        if spec.momentum:
            buffer = held["momentum_buffer"]
            buffer[...] = g if t == 1 else spec.momentum * buffer + (1 - spec.dampening) * g
            g = g + spec.momentum * buffer if spec.nesterov else buffer
        w -= lr * g

    return update


def adam(spec: Adam) -> Update:
    """torch.optim.Adam: both moments corrected for their start at zero, eps outside the root."""
    beta1, beta2 = spec.betas

    def update(w: Array, g: Array, held: dict[str, Array], lr: float, t: int) -> None:
        g = g + spec.weight_decay * w
        m, v = held["exp_avg"], held["exp_avg_sq"]
        m[...] = beta1 * m + (1 - beta1) * g
        v[...] = beta2 * v + (1 - beta2) * g**2
        w -= lr / (1 - beta1**t) * m / (np.sqrt(v / (1 - beta2**t)) + spec.eps)

    return update


def _lower(spec: OptimizerSpec) -> Update:
    match spec:
        case SGD():
            return sgd(spec)
        case Adam():
            return adam(spec)
    raise UnsupportedError(f"backend numpy has no optimizer {spec!r}")
