"""Training and evaluation steps, eager."""

from collections.abc import Sequence

import torch
from torch import Tensor

from xtrain.spec import LossSpec, Metrics, State, StepInput
from xtrain_torch.dataset import Batch
from xtrain_torch.losses import LOSSES
from xtrain_torch.model import TorchModel
from xtrain_torch.optimizer import TorchOptimizer

Handle = list[tuple[Tensor, Tensor]]
"""A chunk's results, for each batch the sum of losses and the correct predictions, still on the device."""


class TorchLoop:
    """Nothing here waits for the device but `read`."""

    def __init__(self, model: TorchModel, loss: LossSpec, optimizer: TorchOptimizer) -> None:
        self._model, self._optimizer = model, optimizer
        self._loss_sum = LOSSES.of(loss)(loss)
        by_class = loss.class_weights
        self._share = (0.0, torch.zeros((), device=model.device))
        self._by_class = None if by_class is None else torch.tensor(by_class, device=model.device)

    def train_step(self, batches: Sequence[Batch], step: StepInput) -> Handle:
        """One update from the loss over all samples of all batches together."""
        with self._model.numerics():
            handle = self._backward(batches, step)
            self._optimizer.apply(step)
            return handle

    def eval_step(self, batch: Batch) -> Handle:
        """Loss and correct predictions in evaluation mode."""
        images, labels = batch
        self._model.mode(training=False)
        with torch.inference_mode(), self._model.numerics():
            logits = self._model.native(images)
            loss = self._loss_sum(logits, labels, self._by_class)
            return [(loss, _correct(logits, labels))]

    def read(self, handles: Sequence[Handle]) -> list[Metrics]:
        """The figures of each step, in one transfer."""
        parts = [part for handle in handles for part in handle]
        if not parts:
            return []
        losses = iter(torch.stack([loss for loss, _ in parts]).tolist())
        corrects = iter(torch.stack([correct for _, correct in parts]).tolist())
        return [
            Metrics(sum(next(losses) for _ in handle), sum(next(corrects) for _ in handle))
            for handle in handles
        ]

    def gradients(self, batch: Batch, step: StepInput) -> State:
        """Gradient of the batch's loss by each parameter."""
        with self._model.numerics():
            self._backward([batch], step)
        state: State = {}
        for name in self._model.spec.trainable:
            gradient = self._model.tensors[name].grad
            assert gradient is not None  # every parameter of a chain is reached
            state[name] = (gradient / self._optimizer.scale).cpu().numpy()
        self._optimizer.clear()
        return state

    def _backward(self, batches: Sequence[Batch], step: StepInput) -> Handle:
        self._model.mode(training=True)
        share, handle = self._upstream(step.share), []
        for index, (images, labels) in enumerate(batches):
            logits = self._model.native(images, self._model.noise(step, index))
            loss = self._loss_sum(logits, labels, self._by_class)
            torch.autograd.backward(loss, share)
            handle.append((loss.detach(), _correct(logits.detach(), labels)))
        return handle

    def _upstream(self, share: float) -> Tensor:
        """Upstream gradient of a summed loss, on the device; made anew where it has changed."""
        scaled = share * self._optimizer.scale
        if self._share[0] != scaled:
            self._share = scaled, torch.tensor(scaled, device=self._model.device)
        return self._share[1]


def _correct(outputs: Tensor, labels: Tensor) -> Tensor:
    return (outputs.argmax(1) == labels).sum()
