"""Training and evaluation steps."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from xtrain.spec import Array, LossSpec, Metrics, State, StepInput, metrics
from xtrain_numpy.dataset import Batch
from xtrain_numpy.losses import LOSSES
from xtrain_numpy.model import NumpyModel
from xtrain_numpy.optimizer import NumpyOptimizer

Handle = list[tuple[float, int]]
"""A chunk's results, for each batch the sum of losses and the correct predictions."""


class NumpyLoop:
    """Figures are there at once."""

    def __init__(self, model: NumpyModel, loss: LossSpec, optimizer: NumpyOptimizer) -> None:
        self._model, self._optimizer = model, optimizer
        self._loss_sum = partial(LOSSES.of(loss), loss)

    def train_step(self, batches: Sequence[Batch], step: StepInput) -> Handle:
        """One update from the loss over all samples of all batches together."""
        with self._model.numerics():
            handle, gradients = self._backward(batches, step)
            self._optimizer.step(gradients, step)
            return handle

    def eval_step(self, batch: Batch) -> Handle:
        """Loss and correct predictions in evaluation mode."""
        images, labels = batch
        with self._model.numerics():
            logits = self._model.predict(images)
            loss, _ = self._loss_sum(logits, labels)
            return [(loss, _correct(logits, labels))]

    def read(self, handles: Sequence[Handle]) -> list[Metrics]:
        """The figures of each step."""
        return metrics(handles)

    def gradients(self, batch: Batch, step: StepInput) -> State:
        """Gradient of the batch's loss by each parameter."""
        with self._model.numerics():
            return self._backward([batch], step)[1]

    def _backward(self, batches: Sequence[Batch], step: StepInput) -> tuple[Handle, State]:
        handle: Handle = []
        sums: State = {name: np.zeros_like(self._model.tensors[name]) for name in self._model.spec.trainable}
        for index, (images, labels) in enumerate(batches):
            logits, backward = self._model.forward(images, self._model.noise(step, index))
            loss, gradient = self._loss_sum(logits, labels)
            gradients: State = {}
            backward(gradient * step.share, gradients)
            for name in sums:
                sums[name] += gradients[name]
            handle.append((loss, _correct(logits, labels)))
        return handle, sums


def _correct(outputs: Array, labels: Array) -> int:
    return int((outputs.argmax(axis=1) == labels).sum())
