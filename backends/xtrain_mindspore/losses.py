"""Lowered losses: each a cell from outputs [B, K] and labels [B] to the sum of the losses."""

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn
from mindspore.ops import operations as P

from xtrain.errors import UnsupportedError
from xtrain.spec import MSE, NLL, CrossEntropy, LossSpec


class Targets(nn.Cell):
    """Labels [B] to what each class counts [B, K]: 1 of the label, less what is smoothed over all classes."""

    def __init__(self, classes_share: float = 0.0, by_class: tuple[float, ...] | None = None) -> None:
        super().__init__(auto_prefix=False)
        self._smoothed = classes_share
        self._by_class = None if by_class is None else Tensor(np.array(by_class, dtype=np.float32))
        self._one_hot = P.OneHot()

    def construct(self, labels: Tensor, classes: int) -> Tensor:
        """One kernel where there are no class weights."""
        each = self._smoothed / classes
        on, off = Tensor(1 - self._smoothed + each, ms.float32), Tensor(each, ms.float32)
        targets = self._one_hot(labels, classes, on, off)
        return targets if self._by_class is None else targets * self._by_class


class CrossEntropySum(nn.Cell):
    """P.SoftmaxCrossEntropyWithLogits."""

    def __init__(self, spec: CrossEntropy) -> None:
        super().__init__(auto_prefix=False)
        self._targets, self._cross_entropy = Targets(spec.label_smoothing), P.SoftmaxCrossEntropyWithLogits()
        self._sum = P.ReduceSum()

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        """A scalar."""
        losses, _ = self._cross_entropy(logits, self._targets(labels, logits.shape[1]))
        return self._sum(losses)


class WeightedCrossEntropySum(nn.Cell):
    """-(targets * log_softmax): the fused kernel's gradient is right only where targets add up to 1."""

    def __init__(self, spec: CrossEntropy) -> None:
        super().__init__(auto_prefix=False)
        self._nll, self._log_softmax = NLLSum(spec.label_smoothing, spec.class_weights), P.LogSoftmax(1)

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        """A scalar."""
        return self._nll(self._log_softmax(logits), labels)


class NLLSum(nn.Cell):
    """-(targets * outputs)."""

    def __init__(self, smoothing: float, by_class: tuple[float, ...] | None) -> None:
        super().__init__(auto_prefix=False)
        self._targets, self._sum = Targets(smoothing, by_class), P.ReduceSum()

    def construct(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """A scalar."""
        return -self._sum(self._targets(labels, outputs.shape[1]) * outputs)


class MSESum(nn.Cell):
    """Squared distance to the one-hot labels."""

    def __init__(self, spec: MSE) -> None:
        super().__init__(auto_prefix=False)
        self._mean = spec.reduction == "mean"
        self._targets, self._square, self._sum = Targets(), P.Square(), P.ReduceSum()

    def construct(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """A scalar."""
        classes = outputs.shape[1]
        total = self._sum(self._square(outputs - self._targets(labels, classes)))
        return total / classes if self._mean else total


def lower(loss: LossSpec) -> nn.Cell:
    """The cell for one loss."""
    match loss:
        case CrossEntropy(class_weights=None):
            return CrossEntropySum(loss)
        case CrossEntropy():
            return WeightedCrossEntropySum(loss)
        case NLL():
            return NLLSum(0.0, loss.class_weights)
        case MSE():
            return MSESum(loss)
    raise UnsupportedError(f"backend mindspore has no loss {loss!r}")
