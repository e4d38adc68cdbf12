"""A lowered optimizer: what is done around every update formula."""

import numpy as np

from xtrain.spec import Array, OptimizerBase, OptimizerSpec, State, StepInput
from xtrain_numpy.model import NumpyModel
from xtrain_numpy.updates import UPDATES


class NumpyOptimizer(OptimizerBase[Array]):
    """An update formula over the model's parameters."""

    def __init__(self, spec: OptimizerSpec, model: NumpyModel) -> None:
        super().__init__(spec, model, lambda name, parameter: np.zeros_like(parameter))
        self._update = UPDATES.of(spec)
        self._moments = {
            name: {buffer: self._buffers[f"{name}/{buffer}"] for buffer in spec.moments}
            for name in self._parameters
        }

    def step(self, gradients: State, step: StepInput) -> None:
        """Update the parameters from given gradients."""
        spec, now, ready = self._spec, self._advance(step), self._prepare(gradients)
        for name, parameter in self._parameters.items():
            decay = spec.weight_decay if name in self._decayed else 0.0
            self._update(spec, parameter, ready[name], self._moments[name], decay, now)
            if spec.ema is not None:
                average = self._buffers[f"{name}/ema"]
                average += now.average_share * (parameter - average)

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
