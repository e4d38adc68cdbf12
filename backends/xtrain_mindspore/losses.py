"""Lowered losses with their terms: the sum over samples, of outputs [B, K] and labels [B].

A graph compiles the functions that are made here, and finds in them what they were made with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from xtrain.plugins import Lazy
from xtrain.spec import MSE, NLL, CrossEntropy, LossSpec, Lowerings, mean_of, targets

if TYPE_CHECKING:
    from mindspore import Tensor

ms: Any = Lazy("mindspore")
P: Any = Lazy("mindspore.ops.operations")

LossSum = Callable[["Tensor", "Tensor"], "Tensor"]
LOSSES: Lowerings[Callable[[Any], LossSum]] = Lowerings("mindspore", "loss")


def _term(total: str, weighted: str = "") -> Callable[[LossSpec], str]:
    """A sum over what each class counts, and another where classes have weights."""
    return lambda loss: mean_of(loss, (weighted if loss.class_weights else total).format(targets(loss)))


def _shares(loss: LossSpec) -> Callable[[Tensor, int], Tensor]:
    """Makes of labels [B] what each class counts [B, K]: 1 of the label, less what is smoothed over all."""
    one_hot, tensor, float32, by_class = P.OneHot(), ms.Tensor, ms.float32, loss.class_weights
    smoothing = loss.label_smoothing if isinstance(loss, CrossEntropy) else 0.0
    weights = None if by_class is None else ms.Tensor(np.array(by_class, dtype=np.float32))

    def shares(labels: Tensor, classes: int) -> Tensor:
        each = smoothing / classes
        counts = one_hot(labels, classes, tensor(1 - smoothing + each, float32), tensor(each, float32))
        return counts if weights is None else counts * weights

    return shares


@LOSSES.register(
    CrossEntropy,
    _term("P.SoftmaxCrossEntropyWithLogits()(logits, {})[0].sum()", "-({} * P.LogSoftmax(1)(logits)).sum()"),
)
def cross_entropy(loss: CrossEntropy) -> LossSum:
    """P.SoftmaxCrossEntropyWithLogits, whose gradient is right only where targets add up to 1."""
    shares, fused, log_softmax = _shares(loss), P.SoftmaxCrossEntropyWithLogits(), P.LogSoftmax(1)
    add_up, weighted = P.ReduceSum(), loss.class_weights is not None

    def loss_sum(logits: Tensor, labels: Tensor) -> Tensor:
        targets = shares(labels, logits.shape[1])
        if weighted:
            return -add_up(targets * log_softmax(logits))
        return add_up(fused(logits, targets)[0])

    return loss_sum


@LOSSES.register(NLL, _term("-({} * outputs).sum()", "-({} * outputs).sum()"))
def nll(loss: NLL) -> LossSum:
    """-(targets * outputs)."""
    shares, add_up = _shares(loss), P.ReduceSum()
    return lambda outputs, labels: -add_up(shares(labels, outputs.shape[1]) * outputs)


@LOSSES.register(MSE, _term("P.Square()(outputs - {}).sum()"))
def mse(loss: MSE) -> LossSum:
    """Squared distance to the one-hot labels."""
    shares, square, add_up, mean = _shares(loss), P.Square(), P.ReduceSum(), loss.reduction == "mean"

    def loss_sum(outputs: Tensor, labels: Tensor) -> Tensor:
        classes = outputs.shape[1]
        total = add_up(square(outputs - shares(labels, classes)))
        return total / classes if mean else total

    return loss_sum
