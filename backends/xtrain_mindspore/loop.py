"""Training and evaluation steps, each one compiled graph."""

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.ops import operations as P

from xtrain.spec import LossSpec, Metrics, State, StepInput, metrics
from xtrain_mindspore.dataset import Batch
from xtrain_mindspore.losses import LOSSES, LossSum
from xtrain_mindspore.model import MindSporeModel
from xtrain_mindspore.optimizer import MindSporeOptimizer, Update
from xtrain_mindspore.threads import spread

Handle = list[tuple[Tensor, Tensor]]
"""A chunk's results, for each batch the sum of losses and the correct predictions, still on the device."""

_argmax, _equal, _cast, _sum = P.Argmax(output_type=ms.int32), P.Equal(), P.Cast(), P.ReduceSum()


class MindSporeLoop:
    """Nothing here waits for the device but `read`. A batch size not seen before compiles (0.3 s)."""

    def __init__(self, model: MindSporeModel, loss: LossSpec, optimizer: MindSporeOptimizer) -> None:
        spread()  # its threads have begun, because weights were taken over
        self._model, self._optimizer = model, optimizer
        self._forward = Forward(model.native, LOSSES.of(loss)(loss))
        self._step = Step(self._forward, optimizer.native)

    def train_step(self, batches: Sequence[Batch], step: StepInput) -> Handle:
        """One update from the loss over all samples of all batches together."""
        self._model.mode(training=True)
        if len(batches) > 1:
            return self._accumulate(batches, step)
        noise, scalars = self._model.noise(step), self._optimizer.advance(step)
        return [self._step(*batches[0], _upstream(step.share), noise, scalars)]

    def eval_step(self, batch: Batch) -> Handle:
        """Loss and correct predictions in evaluation mode."""
        self._model.mode(training=False)
        _, loss, correct = self._forward(*batch)
        return [(loss, correct)]

    def read(self, handles: Sequence[Handle]) -> list[Metrics]:
        """The figures of each step."""
        return metrics(
            [(float(loss.asnumpy()), int(correct.asnumpy())) for loss, correct in handle]
            for handle in handles
        )

    def gradients(self, batch: Batch, step: StepInput) -> State:
        """Gradient of the batch's loss by each parameter."""
        self._model.mode(training=True)
        _, _, gradients = self._step(*batch, _upstream(step.share), self._model.noise(step))
        named = zip(self._model.spec.trainable, gradients, strict=True)
        return {name: gradient.asnumpy().copy() for name, gradient in named}

    def _accumulate(self, batches: Sequence[Batch], step: StepInput) -> Handle:
        """Two graphs instead of one: a gradient for each batch, then the update from their sum."""
        share, handle = _upstream(step.share), []
        sums: list[Tensor] = []
        for index, batch in enumerate(batches):
            loss, correct, gradients = self._step(*batch, share, self._model.noise(step, index))
            sums = [a + b for a, b in zip(sums, gradients, strict=True)] if sums else list(gradients)
            handle.append((loss, correct))
        self._optimizer.apply(sums, step)
        return handle


class Forward(nn.Cell):
    """Images and labels to figures."""

    def __init__(self, network: nn.Cell, loss_sum: LossSum) -> None:
        super().__init__(auto_prefix=False)
        self._network, self._loss_sum = network, loss_sum

    def construct(
        self, images: Tensor, labels: Tensor, share: float | Tensor = 1.0, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`share` of the sum of the losses, what the gradient is of; that sum; correct predictions."""
        logits = self._network(images, noise)
        loss = self._loss_sum(logits, labels)
        return loss * share, loss, _correct(logits, labels)


class Step(nn.Cell):
    """Forward, backward and update as one graph."""

    def __init__(self, forward: Forward, update: Update) -> None:
        super().__init__(auto_prefix=False)
        self._differentiate = ops.value_and_grad(forward, None, update.parameters, has_aux=True)
        self._update = update

    def construct(
        self, images: Tensor, labels: Tensor, share: Tensor, noise: Tensor, scalars: Tensor | None = None
    ) -> tuple[Tensor | tuple[Tensor, ...], ...]:
        """Sum of the losses before the update, correct predictions; without `scalars` the gradients too."""
        (_, loss, correct), gradients = self._differentiate(images, labels, share, noise)
        if scalars is None:
            return loss, correct, gradients
        self._update(scalars, *gradients)
        return loss, correct


def _upstream(share: float) -> Tensor:
    """Upstream gradient of a summed loss: a tensor, where a number would compile the graph anew."""
    return Tensor(np.array(share, dtype=np.float32))


def _correct(outputs: Tensor, labels: Tensor) -> Tensor:
    return _sum(_cast(_equal(_argmax(outputs), labels), ms.int32))
