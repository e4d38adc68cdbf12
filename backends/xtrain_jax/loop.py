"""Training and evaluation steps, each one compiled function."""

from collections.abc import Sequence
from functools import lru_cache, partial
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

Given = tuple[Batch, Any, Any]
"""A batch, the upstream gradient of its loss, and the noise of its dropout masks."""


class JaxLoop:
    """Nothing here waits for the device but `read`. A batch size not seen before compiles."""

    def __init__(self, model: JaxModel, loss: LossSpec, optimizer: JaxOptimizer) -> None:
        self._model, self._optimizer = model, optimizer
        self._loss_sum = partial(LOSSES.of(loss), loss)
        self._share = lru_cache(1)(jnp.float32)  # anew where it has changed
        # What is donated is gone after the call: its memory becomes the result's.
        self._step = jax.jit(self._whole, donate_argnums=(0, 1))
        self._add = jax.jit(self._backward, donate_argnums=2)
        self._evaluate = jax.jit(self._forward)

    def train_step(self, batches: Sequence[Batch], step: StepInput) -> Handle:
        """One update from the loss over all samples of all batches together."""
        if len(batches) > 1:
            gradients, handle = self._gradients(batches, step)
            self._optimizer.update(gradients, step)
            return handle
        model, optimizer = self._model, self._optimizer
        with model.numerics():
            given, scalars = self._given(batches[0], step), optimizer.advance(step)
            tensors, buffers, figures = self._step(model.tensors, optimizer.buffers, given, scalars)
        optimizer.keep(tensors, buffers)
        return [figures]

    def eval_step(self, batch: Batch) -> Handle:
        """Loss and correct predictions in evaluation mode."""
        with self._model.numerics():
            return [self._evaluate(self._model.tensors, batch)[1]]

    def read(self, handles: Sequence[Handle]) -> list[Metrics]:
        """The figures of each step."""
        return metrics([figures.tolist() for figures in handle] for handle in jax.device_get(handles))

    def gradients(self, batch: Batch, step: StepInput) -> State:
        """Gradient of the batch's loss by each parameter."""
        gradients, _ = self._gradients([batch], step)
        return {name: self._model.take(name, gradient) for name, gradient in gradients.items()}

    def _gradients(self, batches: Sequence[Batch], step: StepInput) -> tuple[Tensors, Handle]:
        """Those of all batches added up, each batch going on from the statistics of the one before."""
        sums: Any = None
        handle = []
        for index, batch in enumerate(batches):
            with self._model.numerics():
                given = self._given(batch, step, index)
                sums, moved, figures = self._add(self._model.tensors, given, sums)
            self._model.tensors.update(moved)
            handle.append(figures)
        return sums, handle

    def _given(self, batch: Batch, step: StepInput, index: int = 0) -> Given:
        return batch, self._share(step.share), self._model.noise(step, index)

    # Pure functions, which are compiled.

    def _whole(
        self, tensors: Tensors, buffers: Tensors, given: Given, scalars: Array
    ) -> tuple[Tensors, Tensors, Array]:
        """Forward, backward and update: new tensors and buffers, and the figures before the update."""
        gradients, moved, figures = self._backward(tensors, given)
        return *self._optimizer.apply({**tensors, **moved}, buffers, gradients, scalars), figures

    def _backward(
        self, tensors: Tensors, given: Given, sums: Tensors | None = None
    ) -> tuple[Tensors, Tensors, Array]:
        """Gradients, added to `sums` where there are any; the statistics that moved; the figures."""
        batch, share, noise = given

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
