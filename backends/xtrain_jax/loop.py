"""Training and evaluation steps, each one compiled function."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from xtrain.spec import LossSpec, Metrics, State, StepInput, metrics
from xtrain_jax.dataset import Batch
from xtrain_jax.losses import LOSSES
from xtrain_jax.model import JaxModel
from xtrain_jax.modules import Noise, Tensors
from xtrain_jax.optimizer import JaxOptimizer

Handle = list[Array]
"""A chunk's results, for each batch the sum of losses and the correct predictions, still on the device."""


class JaxLoop:
    """Nothing here waits for the device but `read`. A batch size not seen before compiles."""

    def __init__(self, model: JaxModel, loss: LossSpec, optimizer: JaxOptimizer) -> None:
        self._model, self._optimizer = model, optimizer
        self._loss_sum = partial(LOSSES.of(loss), loss)
        # What is donated is gone after the call: its memory becomes the result's.
        self._step = jax.jit(self._whole, donate_argnums=(0, 1))
        self._add = jax.jit(self._backward, donate_argnums=1)
        self._evaluate = jax.jit(self._forward)

    def train_step(self, batches: Sequence[Batch], step: StepInput) -> Handle:
        """One update from the loss over all samples of all batches together."""
        with self._model.numerics():
            if len(batches) > 1:
                return self._accumulate(batches, step)
            noise, scalars = self._model.noise(step), self._optimizer.advance(step)
            given = (self._model.tensors, self._optimizer.buffers, batches[0], _share(step), noise, scalars)
            tensors, buffers, figures = self._step(*given)
            self._optimizer.keep(tensors, buffers)
            return [figures]

    def eval_step(self, batch: Batch) -> Handle:
        """Loss and correct predictions in evaluation mode."""
        with self._model.numerics():
            return [self._evaluate(self._model.tensors, batch)[1]]

    def read(self, handles: Sequence[Handle]) -> list[Metrics]:
        """The figures of each step."""
        return metrics([(float(loss), int(correct)) for loss, correct in jax.device_get(handle)] for handle in handles)

    def gradients(self, batch: Batch, step: StepInput) -> State:
        """Gradient of the batch's loss by each parameter."""
        with self._model.numerics():
            gradients, moved, _ = self._add(self._model.tensors, None, batch, _share(step), self._model.noise(step))
        self._model.tensors.update(moved)
        return {name: self._model.take(name, gradient) for name, gradient in gradients.items()}

    def _accumulate(self, batches: Sequence[Batch], step: StepInput) -> Handle:
        """Two functions instead of one: a gradient for each batch, then the update from their sum."""
        sums, handle = None, []
        for index, batch in enumerate(batches):
            noise = self._model.noise(step, index)
            sums, moved, figures = self._add(self._model.tensors, sums, batch, _share(step), noise)
            self._model.tensors.update(moved)  # the next batch goes on from these
            handle.append(figures)
        self._optimizer.update(sums, step)
        return handle

    # Pure functions, which are compiled.

    def _whole(
        self, tensors: Tensors, buffers: Tensors, batch: Batch, share: Array, noise: Noise, scalars: Array
    ) -> tuple[Tensors, Tensors, Array]:
        """Forward, backward and update: new tensors and buffers, and the figures before the update."""
        gradients, moved, figures = self._backward(tensors, None, batch, share, noise)
        return *self._optimizer.apply({**tensors, **moved}, buffers, gradients, scalars), figures

    def _backward(
        self, tensors: Tensors, sums: Tensors | None, batch: Batch, share: Array, noise: Noise
    ) -> tuple[Tensors, Tensors, Array]:
        """Gradients, added to `sums` where there are any; the statistics that moved; the figures."""

        def loss(parameters: Tensors) -> tuple[Array, tuple[Tensors, Array]]:
            moved, figures = self._forward({**tensors, **parameters}, batch, noise)
            return share * figures[0], (moved, figures)

        parameters = {name: tensors[name] for name in self._model.spec.trainable}
        gradients, (moved, figures) = jax.grad(loss, has_aux=True)(parameters)
        return gradients if sums is None else jax.tree.map(jnp.add, sums, gradients), moved, figures

    def _forward(self, tensors: Tensors, batch: Batch, noise: Noise = None) -> tuple[Tensors, Array]:
        """The statistics that moved; the sum of losses and the correct predictions."""
        images, labels = batch
        outputs, moved = self._model.native.apply(tensors, images, noise)
        correct = (outputs.argmax(1) == labels).sum()
        return moved, jnp.stack([self._loss_sum(outputs, labels), correct.astype(jnp.float32)])


def _share(step: StepInput) -> np.float32:
    return np.float32(step.share)
