"""A lowered optimizer: what is done around every update formula."""

from dataclasses import astuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from xtrain.spec import OptimizerSpec, Rates, State, StepInput, rates
from xtrain_jax.model import JaxModel
from xtrain_jax.modules import Tensors
from xtrain_jax.updates import UPDATES


class JaxOptimizer:
    """An update formula over the model's parameters, and the buffers beside them.

    `OptimizerBase` is passed over: it holds on to tensors that a step replaces.
    """

    def __init__(self, spec: OptimizerSpec, model: JaxModel) -> None:
        self._spec, self._model, self._update = spec, model, UPDATES.of(spec)
        self._decayed = spec.decayed(model.spec)
        self._updates = 0
        self.buffers = {
            f"{name}/{buffer}": model.give(np.zeros(model.spec.tensors[name].shape, dtype=np.float32))
            for buffer in spec.buffers
            for name in model.spec.trainable
        }
        self._apply = jax.jit(self.apply, donate_argnums=(0, 1))

    def step(self, gradients: State, step: StepInput) -> None:
        """Update the parameters from given gradients."""
        given = {name: self._model.give(gradients[name]) for name in self._model.spec.trainable}
        self.update(given, step)

    def update(self, gradients: Tensors, step: StepInput) -> None:
        """The same from gradients on the device."""
        self.keep(*self._apply(self._model.tensors, self.buffers, gradients, self.advance(step)))

    def apply(
        self, tensors: Tensors, buffers: Tensors, gradients: Tensors, scalars: Array
    ) -> tuple[Tensors, Tensors]:
        """New tensors and buffers: a pure function, which the training step takes in."""
        spec, now = self._spec, Rates(*scalars)
        for name, g in self._prepare(tensors, gradients).items():
            moments = {buffer: buffers[f"{name}/{buffer}"] for buffer in spec.moments}
            decay = spec.weight_decay if name in self._decayed else 0.0
            w, moments = self._update(spec, tensors[name], g, moments, decay, now)
            if spec.ema is not None:
                average = buffers[f"{name}/ema"]
                moments["ema"] = average + now.average_share * (w - average)
            tensors = {**tensors, name: w}
            buffers = {**buffers, **{f"{name}/{buffer}": value for buffer, value in moments.items()}}
        return tensors, buffers

    def advance(self, step: StepInput) -> NDArray[np.float32]:
        """Count one update and return its `Rates` as float32: arguments, or each step would compile anew."""
        self._updates += 1
        return np.array(astuple(rates(self._spec, step, self._updates)), dtype=np.float32)

    def keep(self, tensors: Tensors, buffers: Tensors) -> None:
        """Let new tensors and buffers take the place of the old ones, which are gone."""
        self._model.tensors.update(tensors)
        self.buffers.update(buffers)

    def state(self) -> State:
        """`step` and each parameter's buffers."""
        buffers = {name: self._model.take(name, buffer) for name, buffer in self.buffers.items()}
        return {"step": np.array(self._updates, dtype=np.int64), **buffers}

    def load(self, state: State) -> None:
        """Take over what `state` gave."""
        self._updates = int(state["step"])
        self.buffers.update({name: self._model.give(state[name]) for name in self.buffers})

    def _prepare(self, tensors: Tensors, gradients: Tensors) -> Tensors:
        """Penalties, then clipping by value, then by the norm of all together."""
        spec, ready = self._spec, dict(gradients)
        for name, g in gradients.items():
            if name in self._decayed:
                g = g + spec.l1 * jnp.sign(tensors[name]) + spec.l2 * tensors[name]
            ready[name] = g if spec.clip_value is None else jnp.clip(g, -spec.clip_value, spec.clip_value)
        return ready if spec.clip_norm is None else _clip_norm(ready, spec.clip_norm)


def _clip_norm(gradients: Tensors, most: float) -> Tensors:
    """As nn.utils.clip_grad_norm_."""
    norm = jnp.sqrt(sum((g**2).sum() for g in gradients.values()))
    scale = jnp.minimum(1.0, most / (norm + 1e-6))
    return {name: g * scale for name, g in gradients.items()}
