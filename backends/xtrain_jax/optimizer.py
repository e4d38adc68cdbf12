"""A lowered optimizer: what is done around every update formula."""

from dataclasses import astuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from xtrain.spec import AdamW, OptimizerBase, OptimizerSpec, Rates, State, StepInput
from xtrain_jax.model import JaxModel
from xtrain_jax.modules import Tensors
from xtrain_jax.updates import UPDATES


class JaxOptimizer(OptimizerBase[Array]):
    """An update formula over the model's parameters, and the buffers beside them.

    Both are replaced by each step, so that nothing may hold on to them.
    """

    def __init__(self, spec: OptimizerSpec, model: JaxModel) -> None:
        super().__init__(spec, model, lambda name, parameter: jnp.zeros_like(parameter))
        self._parameters.clear()
        self._update, self.buffers = UPDATES.of(spec), self._buffers
        self._apply = jax.jit(self.apply, donate_argnums=(0, 1))

    def step(self, gradients: State, step: StepInput) -> None:
        """Update the parameters from given gradients."""
        given = {name: self._model.give(gradient) for name, gradient in gradients.items()}
        self.keep(*self._apply(self._model.tensors, self.buffers, given, self.advance(step)))

    def apply(
        self, tensors: Tensors, buffers: Tensors, gradients: Tensors, scalars: Array
    ) -> tuple[Tensors, Tensors]:
        """New tensors and buffers: a pure function, which the training step takes in."""
        spec, now, tensors, buffers = self._spec, Rates(*scalars), dict(tensors), dict(buffers)
        for name, g in self._prepare(tensors, gradients, now).items():
            own = {buffer: buffers[f"{name}/{buffer}"] for buffer in spec.buffers}
            tensors[name] = self._update(spec, tensors[name], g, own, now)
            if spec.ema is not None:
                own["ema"] += now.average_share * (tensors[name] - own["ema"])
            buffers |= {f"{name}/{buffer}": value for buffer, value in own.items()}
        return tensors, buffers

    def advance(self, step: StepInput) -> NDArray[np.float32]:
        """Count one update and return its `Rates` as float32: arguments, or each step would compile anew."""
        return np.array(astuple(self._advance(step)), dtype=np.float32)

    def keep(self, tensors: Tensors, buffers: Tensors) -> None:
        """Let new tensors and buffers take the place of the old ones, which are gone."""
        self._model.tensors.update(tensors)
        self.buffers.update(buffers)

    def load(self, state: State) -> None:
        """Take over what `state` gave."""
        self._updates = int(state["step"])
        self.buffers.update({name: self._model.give(state[name]) for name in self.buffers})

    def _prepare(self, tensors: Tensors, gradients: Tensors, now: Rates) -> Tensors:
        """Penalties, then clipping by value, then by the norm of all together, then weight decay.

        What is 0 is left out here: XLA would compute it.
        """
        spec, ready = self._spec, dict(gradients)
        for name in self._decayed if spec.l1 or spec.l2 else ():
            ready[name] += spec.l1 * jnp.sign(tensors[name]) + spec.l2 * tensors[name]
        if spec.clip_value is not None:
            ready = {name: jnp.clip(g, -spec.clip_value, spec.clip_value) for name, g in ready.items()}
        if spec.clip_norm is not None:
            norm = jnp.sqrt(sum((g**2).sum() for g in ready.values()))
            ready = {name: g * jnp.minimum(1.0, spec.clip_norm / (norm + 1e-6)) for name, g in ready.items()}
        for name in self._decayed if spec.weight_decay else ():
            if isinstance(spec, AdamW):
                tensors[name] *= 1 - now.decay
            else:
                ready[name] += spec.weight_decay * tensors[name]
        return ready
