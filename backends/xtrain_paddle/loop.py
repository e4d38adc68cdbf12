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

Handle = list[tuple[Tensor, Tensor, Tensor, Tensor | int]]
"""Of each batch: sum of losses, outputs, labels, sum of the samples' weights; still on the device."""


class PaddleLoop:
    """Nothing here waits for the device but `read`."""

    def __init__(self, model: PaddleModel, loss: LossSpec, optimizer: PaddleOptimizer) -> None:
        self._model, self._optimizer = model, optimizer
        self._loss_sum, self._mean = _lower(loss), loss.reduction == "mean"
        by_class = loss.class_weights
        self._shares: dict[int, Tensor] = {}
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
            return [(loss, logits, labels, self._weight(labels))]

    def read(self, handles: Sequence[Handle]) -> list[Metrics]:
        """The figures of each step, in one transfer."""
        parts = [part for handle in handles for part in handle]
        if not parts:
            return []
        losses = iter(paddle.stack([loss for loss, *_ in parts]).numpy().tolist())
        corrects = iter(_correct(parts).numpy().tolist())
        weights = iter(_read([weight for *_, weight in parts]))
        return [
            Metrics(
                sum(next(losses) for _ in handle),
                sum(next(corrects) for _ in handle),
                sum(labels.shape[0] for _, _, labels, _ in handle),
                float(sum(next(weights) for _ in handle)),
            )
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
        weights = [self._weight(labels) for _, labels in batches]
        total = sum(weights) if self._mean else 1
        handle, first_row = [], 0
        for (images, labels), weight in zip(batches, weights, strict=True):
            logits = self._model.native(images, self._model.noise(step, first_row))
            loss = self._loss_sum(logits, labels, self._by_class)
            paddle.autograd.backward(loss, self._share(total))
            handle.append((loss.detach(), logits.detach(), labels, weight))
            first_row += labels.shape[0]
        return handle

    def _weight(self, labels: Tensor) -> Tensor | int:
        """Sum of the samples' weights: what the mean divides by."""
        return labels.shape[0] if self._by_class is None else self._by_class[labels].sum()

    def _share(self, total: Tensor | int) -> Tensor:
        """Of one sample in the loss, as the gradient of the sum of the losses."""
        if isinstance(total, Tensor):
            return 1 / total
        if total not in self._shares:
            self._shares[total] = paddle.to_tensor(1 / total, "float32", self._model.device)
        return self._shares[total]

    def _mode(self, training: bool) -> None:
        if self._model.native.training != training:
            self._model.native.train() if training else self._model.native.eval()


def _correct(parts: Handle) -> Tensor:
    """Correct predictions of each batch: one comparison for all of a size, which steps need not wait for."""
    if len({labels.shape[0] for _, _, labels, _ in parts}) > 1:
        return paddle.concat([_correct([part]) for part in parts])
    logits = paddle.stack([logits for _, logits, _, _ in parts])
    labels = paddle.stack([labels for _, _, labels, _ in parts])
    return (logits.argmax(-1) == labels).sum(-1)


def _read(weights: Sequence[Tensor | int]) -> list[float]:
    """Without class weights they are there already."""
    held = [weight for weight in weights if isinstance(weight, Tensor)]
    return [float(weight) for weight in (paddle.stack(held).numpy() if held else weights)]


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
