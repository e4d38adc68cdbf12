"""Training and evaluation steps."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xtrain.errors import UnsupportedError
from xtrain.spec import CrossEntropy, LossSpec, Metrics, State, StepInput
from xtrain_numpy.dataset import Batch
from xtrain_numpy.model import Array, NumpyModel
from xtrain_numpy.optimizer import NumpyOptimizer

Handle = Metrics

# A run that diverges is told by its loss, once, and not by a warning for each operation on the way.
_DIVERGING: Any = {"over": "ignore", "invalid": "ignore"}


class NumpyLoop:
    """Figures are there at once: a handle is the metrics themselves."""

    def __init__(self, model: NumpyModel, loss: LossSpec, optimizer: NumpyOptimizer) -> None:
        self._model, self._optimizer = model, optimizer
        self._loss_sum = _lower(loss)

    def train_step(self, batches: Sequence[Batch], step: StepInput) -> Handle:
        """One update from the mean loss over all samples of all batches."""
        with np.errstate(**_DIVERGING):
            metrics, gradients = self._backward(batches, step)
            self._optimizer.step(gradients, step)
        return metrics

    def eval_step(self, batch: Batch) -> Handle:
        """Loss and correct predictions in evaluation mode."""
        images, labels = batch
        with np.errstate(**_DIVERGING):
            logits = self._model.predict(images)
            return Metrics(self._loss_sum(logits, labels)[0], _correct(logits, labels), len(labels))

    def read(self, handles: Sequence[Handle]) -> list[Metrics]:
        """The figures of each step."""
        return list(handles)

    def gradients(self, batch: Batch, step: StepInput) -> State:
        """Gradient of the mean loss by each parameter."""
        return self._backward([batch], step)[1]

    def _backward(self, batches: Sequence[Batch], step: StepInput) -> tuple[Metrics, State]:
        total = sum(len(labels) for _, labels in batches)
        sums: State = {name: np.zeros_like(self._model.tensors[name]) for name in self._model.spec.trainable}
        loss_sum, correct, first_row = 0.0, 0, 0
        for images, labels in batches:
            logits, backward = self._model.forward(images, self._model.noise(step, first_row))
            loss, gradient = self._loss_sum(logits, labels)
            gradients: State = {}
            backward(gradient / total, gradients)
            for name in sums:
                sums[name] += gradients[name]
            loss_sum, correct = loss_sum + loss, correct + _correct(logits, labels)
            first_row += len(labels)
        return Metrics(loss_sum, correct, total), sums


def _correct(logits: Array, labels: Array) -> int:
    return int((logits.argmax(axis=1) == labels).sum())


def cross_entropy(logits: Array, labels: Array) -> tuple[float, Array]:
    """Sum of logsumexp(logits) - logits[label], and its gradient by the logits: softmax - one-hot."""
    shifted = logits - logits.max(axis=1, keepdims=True)  # exp can't overflow then
    exp = np.exp(shifted)
    total = exp.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = (np.log(total[:, 0]) - shifted[rows, labels]).sum()
    gradient = exp / total
    gradient[rows, labels] -= 1
    return float(loss), gradient


def _lower(loss: LossSpec) -> Callable[[Array, Array], tuple[float, Array]]:
    """Logits [B, K] and labels [B] to the sum of the losses and its gradient."""
    match loss:
        case CrossEntropy():
            return cross_entropy
    raise UnsupportedError(f"backend numpy has no loss {loss!r}")
