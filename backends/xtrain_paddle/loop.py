"""Training and evaluation steps, eager."""

from collections.abc import Callable, Sequence

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from xtrain.errors import UnsupportedError
from xtrain.spec import CrossEntropy, LossSpec, Metrics, State, StepInput
from xtrain_paddle.dataset import Batch
from xtrain_paddle.model import PaddleModel
from xtrain_paddle.optimizer import PaddleOptimizer

Handle = list[tuple[Tensor, Tensor, int]]
"""Of each batch: sum of losses, correct predictions, samples; still on the device."""


class PaddleLoop:
    """Nothing here waits for the device but `read`."""

    def __init__(self, model: PaddleModel, loss: LossSpec, optimizer: PaddleOptimizer) -> None:
        self._model, self._optimizer = model, optimizer
        self._loss_sum = _lower(loss)

    def train_step(self, batches: Sequence[Batch], step: StepInput) -> Handle:
        """One update from the mean loss over all samples of all batches."""
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
            return [(self._loss_sum(logits, labels), _correct(logits, labels), labels.shape[0])]

    def read(self, handles: Sequence[Handle]) -> list[Metrics]:
        """The figures of each step, in one transfer."""
        parts = [part for handle in handles for part in handle]
        if not parts:
            return []
        losses = iter(paddle.stack([loss for loss, _, _ in parts]).numpy().tolist())
        corrects = iter(paddle.stack([correct for _, correct, _ in parts]).numpy().tolist())
        return [
            Metrics(
                sum(next(losses) for _ in handle),
                sum(next(corrects) for _ in handle),
                sum(count for _, _, count in handle),
            )
            for handle in handles
        ]

    def gradients(self, batch: Batch, step: StepInput) -> State:
        """Gradient of the mean loss by each parameter."""
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
        total = sum(labels.shape[0] for _, labels in batches)
        handle, first_row = [], 0
        for images, labels in batches:
            logits = self._model.native(images, self._model.noise(step, first_row))
            loss = self._loss_sum(logits, labels)
            paddle.autograd.backward(loss / total)
            handle.append((loss.detach(), _correct(logits, labels), labels.shape[0]))
            first_row += labels.shape[0]
        return handle

    def _mode(self, training: bool) -> None:
        if self._model.native.training != training:
            self._model.native.train() if training else self._model.native.eval()


def _correct(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.detach().argmax(1) == labels).sum()


def _lower(loss: LossSpec) -> Callable[[Tensor, Tensor], Tensor]:
    """Logits [B, K] and labels [B] to the sum of the losses."""
    match loss:
        case CrossEntropy():
            return _cross_entropy
    raise UnsupportedError(f"backend paddle has no loss {loss!r}")


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Written out, because F.log_softmax does not go below -64.

    The largest logit is taken off first, which keeps the digits of small losses and changes no gradient.
    """
    shifted = logits - logits.detach().max(1, keepdim=True)
    return F.nll_loss(shifted - paddle.logsumexp(shifted, 1, keepdim=True), labels, reduction="sum")
