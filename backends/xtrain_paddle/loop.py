"""Training and evaluation steps, eager."""

from collections.abc import Callable, Sequence

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from xtrain.errors import UnsupportedError
from xtrain.spec import MSE, NLL, CrossEntropy, LossSpec, Metrics, State, StepInput
from xtrain_paddle.dataset import Batch
from xtrain_paddle.layers import log_probabilities
from xtrain_paddle.model import PaddleModel
from xtrain_paddle.optimizer import PaddleOptimizer

Handle = list[tuple[Tensor, Tensor]]
"""Of each batch: sum of losses and correct predictions, still on the device."""


class PaddleLoop:
    """Nothing here waits for the device but `read`."""

    def __init__(self, model: PaddleModel, loss: LossSpec, optimizer: PaddleOptimizer) -> None:
        self._model, self._optimizer = model, optimizer
        self._loss_sum = _lower(loss)
        by_class = loss.class_weights
        self._share = (0.0, paddle.to_tensor(0.0, "float32", model.device))
        self._by_class = None if by_class is None else paddle.to_tensor(by_class, "float32", model.device)

    def train_step(self, batches: Sequence[Batch], step: StepInput) -> Handle:
        """One update from the loss over all samples of all batches together."""
        handle = self._backward(batches, step)
        self._optimizer.apply(step)
        self._optimizer.clear()
        return handle

    def eval_step(self, batch: Batch) -> Handle:
        """Loss and correct predictions in evaluation mode."""
        images, labels = batch
        self._mode(training=False)
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
        self._mode(training=True)
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

    def _mode(self, training: bool) -> None:
        if self._model.native.training != training:
            self._model.native.train() if training else self._model.native.eval()


def _correct(outputs: Tensor, labels: Tensor) -> Tensor:
    correct: Tensor = (outputs.argmax(1) == labels).sum()
    return correct


LossFunction = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Outputs [B, K], labels [B] and class weights [K] to the sum of the losses."""


def _lower(loss: LossSpec) -> LossFunction:
    match loss:
        case CrossEntropy():
            return _smoothed(loss.label_smoothing) if loss.label_smoothing else _cross_entropy
        case NLL():
            return _nll
        case MSE():
            return _mean_square if loss.reduction == "mean" else _square
    raise UnsupportedError(f"backend paddle has no loss {loss!r}")


def _cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    return _nll(log_probabilities(logits), labels, weights)


def _smoothed(smoothing: float) -> LossFunction:
    """Cross entropy, `smoothing` of it shared by all classes."""

    def loss_sum(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        outputs = log_probabilities(logits)
        everywhere = outputs if weights is None else outputs * weights
        share = smoothing / logits.shape[1]
        loss: Tensor = (1 - smoothing) * _nll(outputs, labels, weights) - share * everywhere.sum()
        return loss

    return loss_sum


def _nll(outputs: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    loss: Tensor = F.nll_loss(outputs, labels, weights, reduction="sum")
    return loss


def _square(outputs: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    return F.mse_loss(outputs, F.one_hot(labels, outputs.shape[1]), reduction="sum")


def _mean_square(outputs: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    loss: Tensor = _square(outputs, labels, weights) / outputs.shape[1]
    return loss
