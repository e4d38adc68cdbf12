"""Lowered losses with their terms: the sum over samples and its gradient, of outputs [B, K], labels [B]."""

from collections.abc import Callable
from typing import Any

import numpy as np

from xtrain.spec import MSE, NLL, Array, CrossEntropy, LossSpec, Lowerings, mean_of, targets

LossSum = Callable[[Any, Array, Array], tuple[float, Array]]
LOSSES: Lowerings[LossSum] = Lowerings("numpy", "loss")


def _term(total: str) -> Callable[[LossSpec], str]:
    """A sum over what each class counts."""
    return lambda loss: mean_of(loss, total.format(targets=targets(loss)))


@LOSSES.register(CrossEntropy, _term("({targets} * (log(exp(logits).sum(1)) - logits)).sum()"))
def cross_entropy(loss: CrossEntropy, logits: Array, labels: Array) -> tuple[float, Array]:
    """F.cross_entropy; the gradient of logsumexp(z) - z[c] by the logits is softmax(z) - one-hot of c."""
    by_class = _class_weights(loss, logits)
    shares = np.zeros_like(logits)  # what each class's -log(p) counts
    shares[np.arange(len(labels)), labels] = (1 - loss.label_smoothing) * by_class[labels]
    shares += loss.label_smoothing / logits.shape[1] * by_class
    z = logits - logits.max(axis=1, keepdims=True)  # exp can't overflow then
    total = np.exp(z).sum(axis=1, keepdims=True)
    gradient = shares.sum(axis=1, keepdims=True) * np.exp(z) / total - shares
    return float((shares * (np.log(total) - z)).sum()), gradient


@LOSSES.register(NLL, _term("-({targets} * outputs).sum()"))
def nll(loss: NLL, outputs: Array, labels: Array) -> tuple[float, Array]:
    """F.nll_loss."""
    rows, weights = np.arange(len(labels)), _class_weights(loss, outputs)[labels]
    gradient = np.zeros_like(outputs)
    gradient[rows, labels] = -weights
    return float(-(weights * outputs[rows, labels]).sum()), gradient


@LOSSES.register(MSE, _term("((outputs - {targets}) ** 2).sum()"))
def mse(loss: MSE, outputs: Array, labels: Array) -> tuple[float, Array]:
    """F.mse_loss with the one-hot labels."""
    difference = outputs.copy()
    difference[np.arange(len(labels)), labels] -= 1
    share = 1 / outputs.shape[1] if loss.reduction == "mean" else 1.0
    return float((difference**2).sum() * share), 2 * difference * share


def _class_weights(loss: CrossEntropy | NLL, outputs: Array) -> Array:
    return np.ones(outputs.shape[1]) if loss.class_weights is None else np.array(loss.class_weights)
