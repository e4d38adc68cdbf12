"""Training and evaluation steps, eager."""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import cast

import paddle
from paddle import Tensor

from xtrain.spec import LossSpec, Metrics, State, StepInput, metrics
from xtrain_paddle.dataset import Batch
from xtrain_paddle.losses import LOSSES
from xtrain_paddle.model import PaddleModel
from xtrain_paddle.optimizer import PaddleOptimizer

Handle = list[tuple[Tensor, Tensor]]
"""A chunk's results, for each batch the sum of losses and the correct predictions, still on the device."""


class PaddleLoop:
    """Nothing here waits for the device but `read`."""

    def __init__(self, model: PaddleModel, loss: LossSpec, optimizer: PaddleOptimizer) -> None:
        self._model, self._optimizer = model, optimizer
        self._loss_sum = LOSSES.of(loss)(loss)
        by_class = loss.class_weights
        tensor = partial(paddle.to_tensor, dtype="float32", place=model.device)
        self._upstream = lru_cache(1)(tensor)  # anew where it has changed
        self._by_class = None if by_class is None else tensor(by_class)

    def train_step(self, batches: Sequence[Batch], step: StepInput) -> Handle:
        """One update from the loss over all samples of all batches together."""
        handle = self._backward(batches, step)
        self._optimizer.apply(step)
        return handle

    def eval_step(self, batch: Batch) -> Handle:
        """Loss and correct predictions in evaluation mode."""
        images, labels = batch
        self._model.mode(training=False)
        with paddle.no_grad():
            logits = self._model.native(images)
            loss = self._loss_sum(logits, labels, self._by_class)
            return [(loss, _correct(logits, labels))]

    def read(self, handles: Sequence[Handle]) -> list[Metrics]:
        """The figures of each step, in one transfer."""
        parts = [part for handle in handles for part in handle]
        if not parts:
            return []
        losses, corrects = (paddle.stack(list(each)).numpy().tolist() for each in zip(*parts, strict=True))
        each = iter(zip(losses, corrects, strict=True))
        return metrics([next(each) for _ in handle] for handle in handles)

    def gradients(self, batch: Batch, step: StepInput) -> State:
        """Gradient of the batch's loss by each parameter."""
        self._backward([batch], step)
        parameters = {name: self._model.tensors[name] for name in self._model.spec.trainable}
        state = {name: self._model.take(name, cast(Tensor, w.grad)) for name, w in parameters.items()}
        self._optimizer.clear()
        return state

    def _backward(self, batches: Sequence[Batch], step: StepInput) -> Handle:
        self._model.mode(training=True)
        share, handle = self._upstream(step.share), []
        for index, (images, labels) in enumerate(batches):
            logits = self._model.native(images, self._model.noise(step, index))
            loss = self._loss_sum(logits, labels, self._by_class)
            paddle.autograd.backward(loss, share)
            handle.append((loss.detach(), _correct(logits.detach(), labels)))
        return handle


def _correct(outputs: Tensor, labels: Tensor) -> Tensor:
    correct: Tensor = (outputs.argmax(1) == labels).sum()
    return correct
