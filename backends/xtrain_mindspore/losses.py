"""Lowered losses with their terms: the sum over samples, of outputs [B, K] and labels [B].

A graph compiles the functions that are made here, and finds in them what they were made with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xtrain.plugins import Lazy
from xtrain.spec import MSE, NLL, CrossEntropy, LossSpec, Lowerings

ms: Any = Lazy("mindspore")
P: Any = Lazy("mindspore.ops.operations")

LossSum = Callable[[Any, Any], Any]
LOSSES: Lowerings[Callable[[Any], LossSum]] = Lowerings("mindspore", "loss")


def _term(loss: LossSpec, total: Callable[[str], str], samples: str = "samples") -> str:
    """A sum over the targets, and what it is divided by."""
    weights = f" * {list(loss.class_weights)}" if loss.class_weights else ""
    smoothing = loss.label_smoothing if isinstance(loss, CrossEntropy) else 0
    smoothed = f", {smoothing} of it over all classes" if smoothing else ""
    divisor = "sum of weights" if weights else samples
    shown = total(f"one_hot(labels{smoothed}){weights}")
    return f"{shown} / {divisor}" if loss.reduction == "mean" else shown


def _targets(smoothing: float, by_class: tuple[float, ...] | None) -> Callable[[Any, int], Any]:
    """Makes of labels [B] what each class counts [B, K]: 1 of the label, less what is smoothed over all."""
    one_hot, tensor, float32 = P.OneHot(), ms.Tensor, ms.float32
    weights = None if by_class is None else ms.Tensor(np.array(by_class, dtype=np.float32))

    def targets(labels: Any, classes: int) -> Any:
        each = smoothing / classes
        shares = one_hot(labels, classes, tensor(1 - smoothing + each, float32), tensor(each, float32))
        return shares if weights is None else shares * weights

    return targets


def _weighted(smoothing: float, by_class: tuple[float, ...] | None) -> LossSum:
    """-(targets * outputs)."""
    targets, add_up = _targets(smoothing, by_class), P.ReduceSum()
    return lambda outputs, labels: -add_up(targets(labels, outputs.shape[1]) * outputs)


def _cross_entropy_term(loss: CrossEntropy) -> str:
    if loss.class_weights:
        return _term(loss, lambda targets: f"-({targets} * P.LogSoftmax(1)(logits)).sum()")
    return _term(loss, lambda targets: f"P.SoftmaxCrossEntropyWithLogits()(logits, {targets})[0].sum()")


@LOSSES.register(CrossEntropy, _cross_entropy_term)
def cross_entropy(loss: CrossEntropy) -> LossSum:
    """P.SoftmaxCrossEntropyWithLogits, whose gradient is right only where targets add up to 1."""
    if loss.class_weights is not None:
        return _weighted_cross_entropy(loss)
    targets, add_up = _targets(loss.label_smoothing, None), P.ReduceSum()
    fused = P.SoftmaxCrossEntropyWithLogits()

    def loss_sum(logits: Any, labels: Any) -> Any:
        losses, _ = fused(logits, targets(labels, logits.shape[1]))
        return add_up(losses)

    return loss_sum


def _weighted_cross_entropy(loss: CrossEntropy) -> LossSum:
    weighted, log_softmax = _weighted(loss.label_smoothing, loss.class_weights), P.LogSoftmax(1)
    return lambda logits, labels: weighted(log_softmax(logits), labels)


@LOSSES.register(NLL, lambda loss: _term(loss, lambda targets: f"-({targets} * outputs).sum()"))
def nll(loss: NLL) -> LossSum:
    """The formula."""
    return _weighted(0.0, loss.class_weights)


@LOSSES.register(
    MSE,
    lambda loss: _term(loss, lambda targets: f"P.Square()(outputs - {targets}).sum()", "(samples * classes)"),
)
def mse(loss: MSE) -> LossSum:
    """The squared distance to the one-hot labels."""
    targets, square, add_up, mean = _targets(0.0, None), P.Square(), P.ReduceSum(), loss.reduction == "mean"

    def loss_sum(outputs: Any, labels: Any) -> Any:
        classes = outputs.shape[1]
        total = add_up(square(outputs - targets(labels, classes)))
        return total / classes if mean else total

    return loss_sum
