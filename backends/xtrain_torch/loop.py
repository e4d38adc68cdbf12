"""Training and evaluation steps, eager."""

from collections.abc import Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor

from xtrain.spec import LossSpec, Metrics, State, StepInput, metrics
from xtrain_torch.dataset import Batch
from xtrain_torch.losses import LOSSES
from xtrain_torch.model import TorchModel
from xtrain_torch.optimizer import TorchOptimizer
from xtrain_torch.updates import gradients_of

Handle = list[tuple[Tensor, int]]
"""A chunk's results, for each batch a block of figures and the row that is its own, still on the device."""

_ROWS = 256


class TorchLoop:
    """Nothing here waits for the device but `read`."""

    def __init__(self, model: TorchModel, loss: LossSpec, optimizer: TorchOptimizer) -> None:
        self._model, self._optimizer = model, optimizer
        self._loss_sum = LOSSES.of(loss)(loss)
        by_class = loss.class_weights
        self._upstream = lru_cache(1)(partial(torch.tensor, device=model.device))  # anew where it has changed
        self._by_class = None if by_class is None else torch.tensor(by_class, device=model.device)
        self._figures = _Figures(model.device)

    def train_step(self, batches: Sequence[Batch], step: StepInput) -> Handle:
        """One update from the loss over all samples of all batches together."""
        with self._model.numerics():
            handle = self._backward(batches, step)
            if self._model.group:
                self._model.group.add(gradients_of(self._optimizer.filled()))
            self._optimizer.apply(step)
            return handle

    def eval_step(self, batch: Batch) -> Handle:
        """Loss and correct predictions in evaluation mode."""
        images, labels = batch
        self._model.mode(training=False)
        with torch.inference_mode(), self._model.numerics():
            logits = self._model.native(images)
            loss = self._loss_sum(logits, labels, self._by_class)
            return [self._figures.keep(loss, logits, labels)]

    def read(self, handles: Sequence[Handle]) -> list[Metrics]:
        """The figures of each step, a block in one transfer."""
        blocks = {id(block): block for handle in handles for block, _ in handle}
        figures = {key: block.tolist() for key, block in blocks.items()}
        return metrics([figures[id(block)][row] for block, row in handle] for handle in handles)

    def gradients(self, batch: Batch, step: StepInput) -> State:
        """Gradient of the batch's loss by each parameter."""
        with self._model.numerics():
            self._backward([batch], step)
        parameters = {name: self._model.tensors[name] for name in self._model.spec.trainable}
        given = zip(parameters, gradients_of(parameters.values()), strict=True)
        state = {name: (gradient / self._optimizer.scale).cpu().numpy() for name, gradient in given}
        self._optimizer.clear()
        return state

    def _backward(self, batches: Sequence[Batch], step: StepInput) -> Handle:
        self._model.mode(training=True)
        share, handle = self._upstream(step.share * self._optimizer.scale), []
        for index, (images, labels) in enumerate(batches):
            if index in step.fillers:  # an empty batch counts nowhere, and takes its part in all sums
                images, labels = images[:0], labels[:0]  # noqa: PLW2901
            logits = self._model.native(images, self._model.noise(step, index))
            loss = self._loss_sum(logits, labels, self._by_class)
            torch.autograd.backward(loss, share)
            handle.append(self._figures.keep(loss.detach(), logits.detach(), labels))
        return handle


class _Figures:
    """Room for the figures of many batches, made at once.

    Were each batch's kept in tensors of its own, they would lie where the next step's large ones were: the
    heap would grow by some megabytes a step until they are read, and fresh pages take longer than the step.
    """

    def __init__(self, device: str) -> None:
        self._device, self._block, self._row = device, torch.empty(0, 2), 0

    def keep(self, loss: Tensor, outputs: Tensor, labels: Tensor) -> tuple[Tensor, int]:
        """Write down the sum of a batch's losses and its correct predictions; where they stand."""
        if self._row == len(self._block):
            with torch.inference_mode(False):  # what evaluation makes can't be written by a training step
                self._block, self._row = torch.empty(_ROWS, 2, device=self._device), 0
        row, self._row = self._row, self._row + 1
        self._block[row, 0] = loss
        self._block[row, 1] = (outputs.argmax(1) == labels).sum()
        return self._block, row
