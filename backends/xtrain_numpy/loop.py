"""Training and evaluation steps."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xtrain.errors import UnsupportedError
from xtrain.spec import MSE, NLL, CrossEntropy, LossSpec, Metrics, State, StepInput
from xtrain_numpy.dataset import Batch
from xtrain_numpy.forward import Array
from xtrain_numpy.model import NumpyModel
from xtrain_numpy.optimizer import NumpyOptimizer

Handle = Metrics

# A run that diverges is told by its loss, once, and not by a warning for each operation on the way.
_DIVERGING: Any = {"over": "ignore", "invalid": "ignore"}


class NumpyLoop:
    """Figures are there at once: a handle is the metrics themselves."""

    def __init__(self, model: NumpyModel, loss: LossSpec, optimizer: NumpyOptimizer) -> None:
        self._model, self._optimizer, self._loss = model, optimizer, _lower(loss)

    def train_step(self, batches: Sequence[Batch], step: StepInput) -> Handle:
        """One update from the loss over all samples of all batches together."""
        with np.errstate(**_DIVERGING):
            metrics, gradients = self._backward(batches, step)
            self._optimizer.step(gradients, step)
        return metrics

    def eval_step(self, batch: Batch) -> Handle:
        """Loss and correct predictions in evaluation mode."""
        images, labels = batch
        with np.errstate(**_DIVERGING):
            logits = self._model.predict(images)
            loss, _ = self._loss(logits, labels)
        return Metrics(loss, _correct(logits, labels))

    def read(self, handles: Sequence[Handle]) -> list[Metrics]:
        """The figures of each step."""
        return list(handles)

    def gradients(self, batch: Batch, step: StepInput) -> State:
        """Gradient of the batch's loss by each parameter."""
        return self._backward([batch], step)[1]

    def _backward(self, batches: Sequence[Batch], step: StepInput) -> tuple[Metrics, State]:
        loss_sum, correct = 0.0, 0
        sums: State = {name: np.zeros_like(self._model.tensors[name]) for name in self._model.spec.trainable}
        for index, (images, labels) in enumerate(batches):
            logits, backward = self._model.forward(images, self._model.noise(step, index))
            loss, gradient = self._loss(logits, labels)
            loss_sum, correct = loss_sum + loss, correct + _correct(logits, labels)
            gradients: State = {}
            backward(gradient * step.share, gradients)
            for name in sums:
                sums[name] += gradients[name]
        return Metrics(loss_sum, correct), sums


def _correct(logits: Array, labels: Array) -> int:
    return int((logits.argmax(axis=1) == labels).sum())


LossFunction = Callable[[Array, Array], tuple[float, Array]]
"""Outputs [B, K], labels [B] -> sum of the losses, and its gradient."""


def cross_entropy(spec: CrossEntropy) -> LossFunction:
    """F.cross_entropy; the gradient of logsumexp(z) - z[c] by the logits is softmax(z) - one-hot of c."""

    def function(logits: Array, labels: Array) -> tuple[float, Array]:
        by_class = _class_weights(spec.class_weights, logits)
        targets = np.zeros_like(logits)  # what each class's -log(p) counts
        targets[np.arange(len(labels)), labels] = (1 - spec.label_smoothing) * by_class[labels]
        targets += spec.label_smoothing / logits.shape[1] * by_class
        z = logits - logits.max(axis=1, keepdims=True)  # exp can't overflow then
        total = np.exp(z).sum(axis=1, keepdims=True)
        loss = (targets * (np.log(total) - z)).sum()
        gradient = targets.sum(axis=1, keepdims=True) * np.exp(z) / total - targets
        return float(loss), gradient

    return function


def nll(spec: NLL) -> LossFunction:
    """F.nll_loss."""

    def function(outputs: Array, labels: Array) -> tuple[float, Array]:
        rows, weights = np.arange(len(labels)), _class_weights(spec.class_weights, outputs)[labels]
        gradient = np.zeros_like(outputs)
        gradient[rows, labels] = -weights
        return float(-(weights * outputs[rows, labels]).sum()), gradient

    return function


def mse(spec: MSE) -> LossFunction:
    """F.mse_loss with the one-hot labels."""

    def function(outputs: Array, labels: Array) -> tuple[float, Array]:
        difference = outputs.copy()
        difference[np.arange(len(labels)), labels] -= 1
        share = 1 / outputs.shape[1] if spec.reduction == "mean" else 1.0
        return float((difference**2).sum() * share), 2 * difference * share

    return function


def _class_weights(given: tuple[float, ...] | None, outputs: Array) -> Array:
    return np.ones(outputs.shape[1]) if given is None else np.array(given)


def _lower(loss: LossSpec) -> LossFunction:
    match loss:
        case CrossEntropy():
            return cross_entropy(loss)
        case NLL():
            return nll(loss)
        case MSE():
            return mse(loss)
    raise UnsupportedError(f"backend numpy has no loss {loss!r}")
