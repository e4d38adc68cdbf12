"""Training and evaluation steps, each one compiled function."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from xtrain.spec import LossSpec, Metrics, State, StepInput, metrics
from xtrain_jax.dataset import Batch
from xtrain_jax.losses import LOSSES
from xtrain_jax.model import JaxModel
from xtrain_jax.modules import Noise, Tensors
from xtrain_jax.optimizer import JaxOptimizer

Handle = list[Array]
"""A chunk's results, for each batch the sum of losses and the correct predictions, still on the device."""

Sums = Tensors | None
New = tuple[Tensors, Tensors, Array]
Given = tuple[Batch, float, Noise]
"""A batch, the upstream gradient of its loss, and the noise of its dropout masks."""


class JaxLoop:
    """Nothing here waits for the device but `read`. A batch size not seen before compiles.

    What is donated is gone after the call: its memory becomes the result's.
    """

    def __init__(self, model: JaxModel, loss: LossSpec, optimizer: JaxOptimizer) -> None:
        self._model, self._optimizer, self._loss_sum = model, optimizer, partial(LOSSES.of(loss), loss)
        self._step = jax.jit(self._whole, donate_argnums=(0, 1))
        self._add = jax.jit(self._backward, donate_argnums=1)
        self._evaluate = jax.jit(lambda tensors, batch: self._forward({}, tensors, (batch, 1.0, None))[1][1])

    def train_step(self, batches: Sequence[Batch], step: StepInput) -> Handle:
        """One update from the loss over all samples of all batches together.

        The last batch's gradients and the update are one function, and with a single batch they are all.
        """
        sums, handle = self._gradients(batches[:-1], step)
        given, scalars = self._given(batches[-1], step, len(handle)), self._optimizer.advance(step)
        *new, figures = self._step(self._model.tensors, self._optimizer.buffers, sums, given, scalars)
        self._optimizer.keep(*new)
        return [*handle, figures]

    def eval_step(self, batch: Batch) -> Handle:
        """Loss and correct predictions in evaluation mode."""
        return [self._evaluate(self._model.tensors, batch)]

    def read(self, handles: Sequence[Handle]) -> list[Metrics]:
        """The figures of each step."""
        return metrics([figures.tolist() for figures in handle] for handle in jax.device_get(handles))

    def gradients(self, batch: Batch, step: StepInput) -> State:
        """Gradient of the batch's loss by each parameter."""
        gradients, _ = self._gradients([batch], step)
        return {name: self._model.take(name, gradient) for name, gradient in (gradients or {}).items()}

    def _gradients(self, batches: Sequence[Batch], step: StepInput) -> tuple[Tensors | None, Handle]:
        """Those of all batches added up, each batch going on from the statistics of the one before."""
        sums, handle = None, []
        for index, batch in enumerate(batches):
            sums, moved, figures = self._add(self._model.tensors, sums, self._given(batch, step, index))
            self._model.tensors.update(moved)
            handle.append(figures)
        return sums, handle

    def _given(self, batch: Batch, step: StepInput, index: int) -> Given:
        return batch, step.share, self._model.noise(step, index)

    def _whole(self, tensors: Tensors, buffers: Tensors, sums: Sums, given: Given, scalars: Array) -> New:
        """Forward, backward and update: new tensors and buffers, and the figures before the update.

        Like those below it is a pure function, which is compiled.
        """
        gradients, moved, figures = self._backward(tensors, sums, given)
        return *self._optimizer.apply({**tensors, **moved}, buffers, gradients, scalars), figures

    def _backward(self, tensors: Tensors, sums: Sums, given: Given) -> New:
        """Gradients, added to `sums` where there are any; the statistics that moved; the figures."""
        parameters = {name: tensors[name] for name in self._model.spec.trainable}
        gradients, (moved, figures) = jax.grad(self._forward, has_aux=True)(parameters, tensors, given)
        return gradients if sums is None else jax.tree.map(jnp.add, sums, gradients), moved, figures

    def _forward(self, parameters: Tensors, tensors: Tensors, given: Given) -> tuple[Array, Any]:
        """What the gradient is of; the statistics that moved; sum of losses and correct predictions."""
        batch, share, noise = given
        outputs, moved = self._model.apply({**tensors, **parameters}, batch[0], noise)
        loss, correct = self._loss_sum(outputs, batch[1]), (outputs.argmax(1) == batch[1]).sum()
        return share * loss, (moved, jnp.stack([loss, correct]))
