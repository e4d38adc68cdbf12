"""Training and evaluation steps, eager."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from xtrain.errors import UnsupportedError
from xtrain.spec import MSE, NLL, CrossEntropy, LossSpec, Metrics, State, StepInput
from xtrain_torch.dataset import Batch
from xtrain_torch.model import TorchModel
from xtrain_torch.optimizer import TorchOptimizer

Handle = list[tuple[Tensor, Tensor, Tensor, Tensor | int]]
"""Of each batch: sum of losses, outputs, labels, sum of the samples' weights; still on the device."""


class TorchLoop:
    """Nothing here waits for the device but `read`."""

    def __init__(self, model: TorchModel, loss: LossSpec, optimizer: TorchOptimizer) -> None:
        self._model, self._optimizer = model, optimizer
        self._loss_sum, self._mean = _lower(loss), loss.reduction == "mean"
        by_class = loss.class_weights
        self._shares: dict[float, Tensor] = {}
        self._by_class = None if by_class is None else torch.tensor(by_class, device=model.device)

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
        with torch.inference_mode():
            logits = self._model.native(images)
            loss = self._loss_sum(logits, labels, self._by_class)
            return [(loss, logits, labels, self._weight(labels))]

    def read(self, handles: Sequence[Handle]) -> list[Metrics]:
        """The figures of each step, in one transfer."""
        parts = [part for handle in handles for part in handle]
        if not parts:
            return []
        losses = iter(torch.stack([loss for loss, *_ in parts]).tolist())
        corrects = iter(_correct(parts).tolist())
        weights = iter(torch.stack([torch.as_tensor(weight) for *_, weight in parts]).tolist())
        return [
            Metrics(
                sum(next(losses) for _ in handle),
                sum(next(corrects) for _ in handle),
                sum(len(labels) for _, _, labels, _ in handle),
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
            state[name] = (gradient / self._optimizer.scale).cpu().numpy()
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
            torch.autograd.backward(loss, self._share(total))
            handle.append((loss.detach(), logits.detach(), labels, weight))
            first_row += len(labels)
        return handle

    def _weight(self, labels: Tensor) -> Tensor | int:
        """Sum of the samples' weights: what the mean divides by."""
        return len(labels) if self._by_class is None else self._by_class[labels].sum()

    def _share(self, total: Tensor | int) -> Tensor:
        """Of one sample in the loss, as the gradient of the sum of the losses, scaled for the optimizer."""
        share = self._optimizer.scale / total
        if isinstance(share, Tensor):
            return share
        if share not in self._shares:
            self._shares[share] = torch.tensor(share, device=self._model.device)
        return self._shares[share]

    def _mode(self, training: bool) -> None:
        if self._model.native.training != training:
            self._model.native.train(training)


def _correct(parts: Handle) -> Tensor:
    """Correct predictions of each batch: one comparison for all of a size, which steps need not wait for."""
    if len({labels.shape for _, _, labels, _ in parts}) > 1:
        return torch.cat([_correct([part]) for part in parts])
    logits = torch.stack([logits for _, logits, _, _ in parts])
    labels = torch.stack([labels for _, _, labels, _ in parts])
    return (logits.argmax(-1) == labels).sum(-1)


LossFunction = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Outputs [B, K], labels [B] and class weights [K] to the sum of the losses."""


def _lower(loss: LossSpec) -> LossFunction:
    match loss:
        case CrossEntropy():
            smoothing = loss.label_smoothing
            return lambda logits, labels, weights: F.cross_entropy(
                logits, labels, weights, reduction="sum", label_smoothing=smoothing
            )
        case NLL():
            return lambda outputs, labels, weights: F.nll_loss(outputs, labels, weights, reduction="sum")
        case MSE():
            return _mean_square if loss.reduction == "mean" else _square
    raise UnsupportedError(f"backend torch has no loss {loss!r}")


def _square(outputs: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    return F.mse_loss(outputs, F.one_hot(labels, outputs.shape[1]).to(outputs.dtype), reduction="sum")


def _mean_square(outputs: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    return _square(outputs, labels, weights) / outputs.shape[1]
