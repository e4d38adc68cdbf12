"""A lowered optimizer: canonical state, and what is done around every update formula."""

import numpy as np

from xtrain.spec import OptimizerSpec, State, StepInput, rates
from xtrain_numpy.model import NumpyModel
from xtrain_numpy.updates import UPDATES


class NumpyOptimizer:
    """An update formula over the model's parameters."""

    def __init__(self, spec: OptimizerSpec, model: NumpyModel) -> None:
        self._spec, self._update = spec, UPDATES.of(spec)
        self._parameters = {name: model.tensors[name] for name in model.spec.trainable}
        self._buffers = {
            f"{name}/{buffer}": np.zeros_like(parameter)
            for buffer in spec.buffers
            for name, parameter in self._parameters.items()
        }
        self._moments = {
            name: {buffer: self._buffers[f"{name}/{buffer}"] for buffer in spec.moments}
            for name in self._parameters
        }
        self._decayed = spec.decayed(model.spec)
        self._updates = 0

    def step(self, gradients: State, step: StepInput) -> None:
        """Update the parameters from given gradients."""
        self._updates += 1
        spec, now, ready = self._spec, rates(self._spec, step, self._updates), self._prepare(gradients)
        for name, parameter in self._parameters.items():
            decay = spec.weight_decay if name in self._decayed else 0.0
            self._update(spec, parameter, ready[name], self._moments[name], decay, now)
            if spec.ema is not None:
                average = self._buffers[f"{name}/ema"]
                average += now.average_share * (parameter - average)

    def state(self) -> State:
        """`step` and each parameter's buffers; zeros before the first update."""
        state: State = {"step": np.array(self._updates, dtype=np.int64)}
        return state | {name: buffer.copy() for name, buffer in self._buffers.items()}

    def load(self, state: State) -> None:
        """Take over what `state` gave."""
        self._updates = int(state["step"])
        for name, buffer in self._buffers.items():
            buffer[...] = state[name]

    def _prepare(self, gradients: State) -> State:
        """Penalties, then clipping by value, then by the norm of all together."""
        spec, ready = self._spec, {}
        for name, w in self._parameters.items():
            g = gradients[name].astype(np.float64)
            if name in self._decayed:
                g = g + spec.l1 * np.sign(w) + spec.l2 * w
            ready[name] = g if spec.clip_value is None else np.clip(g, -spec.clip_value, spec.clip_value)
        return ready if spec.clip_norm is None else self._clip_norm(ready, spec.clip_norm)

    def _clip_norm(self, gradients: State, most: float) -> State:
        """As nn.utils.clip_grad_norm_."""
        norm = np.sqrt(sum((g**2).sum() for g in gradients.values()))
        scale = min(1.0, most / (norm + 1e-6))
        return {name: g * scale for name, g in gradients.items()}
