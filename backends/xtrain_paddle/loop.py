"""Training and evaluation steps, eager."""

from collections.abc import Sequence

import paddle
from paddle import Tensor

from xtrain.spec import LossSpec, Metrics, State, StepInput
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
        self._share = (0.0, paddle.to_tensor(0.0, "float32", model.device))
        self._by_class = None if by_class is None else paddle.to_tensor(by_class, "float32", model.device)

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
        losses = iter(paddle.stack([loss for loss, _ in parts]).numpy().tolist())
        corrects = iter(paddle.stack([correct for _, correct in parts]).numpy().tolist())
        return [
            Metrics(sum(next(losses) for _ in handle), sum(next(corrects) for _ in handle))
            for handle in handles
        ]

    def gradients(self, batch: Batch, step: StepInput) -> State:
        """Gradient of the batch's loss by each parameter."""
        self._backward([batch], step)
        state: State = {}
        for name in self._model.spec.trainable:
            gradient = self._model.tensors[name].grad
            assert gradient is not None  # every parameter of a chain is reached
            state[name] = self._model.to_canonical(name, gradient)
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

    def _upstream(self, share: float) -> Tensor:
        """Upstream gradient of a summed loss, on the device; made anew where it has changed."""
        if self._share[0] != share:
            self._share = share, paddle.to_tensor(share, "float32", self._model.device)
        return self._share[1]


def _correct(outputs: Tensor, labels: Tensor) -> Tensor:
    correct: Tensor = (outputs.argmax(1) == labels).sum()
    return correct
