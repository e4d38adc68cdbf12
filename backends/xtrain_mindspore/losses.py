"""Lowered losses with their terms: the sum over samples, of outputs [B, K] and labels [B].

A graph compiles the functions that are made here, and finds in them what they were made with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from xtrain.plugins import Lazy
from xtrain.spec import MSE, NLL, CrossEntropy, LossSpec, Lowerings

if TYPE_CHECKING:
    from mindspore import Tensor

ms: Any = Lazy("mindspore")
P: Any = Lazy("mindspore.ops.operations")

LossSum = Callable[["Tensor", "Tensor"], "Tensor"]
LOSSES: Lowerings[Callable[[Any], LossSum]] = Lowerings("mindspore", "loss")


def _term(total: str, weighted: str = "", samples: str = "samples") -> Callable[[LossSpec], str]:
    """A sum over the targets, another where classes have weights, and what it is divided by."""

    def term(loss: LossSpec) -> str:
        smoothing = _smoothing(loss)
        targets = "one_hot(labels)"
        if smoothing:
            targets = f"({1 - smoothing:g} * {targets} + {smoothing} / classes)"
        targets += f" * {list(loss.class_weights)}" if loss.class_weights else ""
        divisor = "sum of weights" if loss.class_weights else samples
        shown = (weighted if loss.class_weights else total).format(targets)
        return f"{shown} / {divisor}" if loss.reduction == "mean" else shown

    return term


def _smoothing(loss: LossSpec) -> float:
    return loss.label_smoothing if isinstance(loss, CrossEntropy) else 0.0


def _targets(loss: LossSpec) -> Callable[[Tensor, int], Tensor]:
    """Makes of labels [B] what each class counts [B, K]: 1 of the label, less what is smoothed over all."""
    one_hot, tensor, float32, smoothing = P.OneHot(), ms.Tensor, ms.float32, _smoothing(loss)
    by_class = loss.class_weights
    weights = None if by_class is None else ms.Tensor(np.array(by_class, dtype=np.float32))

    def targets(labels: Tensor, classes: int) -> Tensor:
        each = smoothing / classes
        shares = one_hot(labels, classes, tensor(1 - smoothing + each, float32), tensor(each, float32))
        return shares if weights is None else shares * weights

    return targets


@LOSSES.register(
    CrossEntropy,
    _term("P.SoftmaxCrossEntropyWithLogits()(logits, {})[0].sum()", "-({} * P.LogSoftmax(1)(logits)).sum()"),
)
def cross_entropy(loss: CrossEntropy) -> LossSum:
    """P.SoftmaxCrossEntropyWithLogits, whose gradient is right only where targets add up to 1."""
    targets, fused, log_softmax = _targets(loss), P.SoftmaxCrossEntropyWithLogits(), P.LogSoftmax(1)
    add_up, weighted = P.ReduceSum(), loss.class_weights is not None

    def loss_sum(logits: Tensor, labels: Tensor) -> Tensor:
        shares = targets(labels, logits.shape[1])
        if weighted:
            return -add_up(shares * log_softmax(logits))
        return add_up(fused(logits, shares)[0])

    return loss_sum


@LOSSES.register(NLL, _term("-({} * outputs).sum()", "-({} * outputs).sum()"))
def nll(loss: NLL) -> LossSum:
    """-(targets * outputs)."""
    targets, add_up = _targets(loss), P.ReduceSum()
    return lambda outputs, labels: -add_up(targets(labels, outputs.shape[1]) * outputs)


@LOSSES.register(MSE, _term("P.Square()(outputs - {}).sum()", samples="(samples * classes)"))
def mse(loss: MSE) -> LossSum:
    """Squared distance to the one-hot labels."""
    targets, square, add_up, mean = _targets(loss), P.Square(), P.ReduceSum(), loss.reduction == "mean"

    def loss_sum(outputs: Tensor, labels: Tensor) -> Tensor:
        classes = outputs.shape[1]
        total = add_up(square(outputs - targets(labels, classes)))
        return total / classes if mean else total

    return loss_sum
