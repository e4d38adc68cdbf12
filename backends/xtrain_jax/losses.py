"""Lowered losses with their terms: the sum over samples, of outputs [B, K] and labels [B]."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xtrain.plugins import Lazy
from xtrain.spec import MSE, NLL, CrossEntropy, LossSpec, Lowerings, mean_of, targets

if TYPE_CHECKING:
    from jax import Array

jax, jnp = Lazy("jax"), Lazy("jax.numpy")

LOSSES: Lowerings[Callable[[Any, Array, Array], Array]] = Lowerings("jax", "loss")


def _term(total: str) -> Callable[[LossSpec], str]:
    """A sum over what each class counts."""
    return lambda loss: mean_of(loss, total.format(targets(loss)))


@LOSSES.register(CrossEntropy, _term("-({} * nn.log_softmax(logits)).sum()"))
def cross_entropy(loss: CrossEntropy, logits: Array, labels: Array) -> Array:
    """logsumexp(logits) - logits, times what each class counts."""
    return nll(loss, jax.nn.log_softmax(logits), labels)


@LOSSES.register(NLL, _term("-({} * outputs).sum()"))
def nll(loss: NLL | CrossEntropy, outputs: Array, labels: Array) -> Array:
    """Minus the output of the label, times its weight; of all labels, where some of each is smoothed over.

    Products with one-hot vectors would take a tenth of mnist_mlp's step.
    """
    if getattr(loss, "label_smoothing", 0.0):
        return -(_shares(loss, outputs, labels) * outputs).sum()
    weights = 1.0 if loss.class_weights is None else jnp.array(loss.class_weights)[labels]
    return -(outputs[jnp.arange(len(labels)), labels] * weights).sum()


@LOSSES.register(MSE, _term("((outputs - {}) ** 2).sum()"))
def mse(loss: MSE, outputs: Array, labels: Array) -> Array:
    """Squared distance to the one-hot labels."""
    total = ((outputs - _shares(loss, outputs, labels)) ** 2).sum()
    return total / outputs.shape[1] if loss.reduction == "mean" else total


def _shares(loss: LossSpec, outputs: Array, labels: Array) -> Array:
    """What each class counts [B, K]: 1 of the label, less what is smoothed over all, times its weight."""
    smoothing, classes = getattr(loss, "label_smoothing", 0.0), outputs.shape[1]
    shares: Array = (1 - smoothing) * jax.nn.one_hot(labels, classes) + smoothing / classes
    return shares if loss.class_weights is None else shares * jnp.array(loss.class_weights)
