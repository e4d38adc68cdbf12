"""Lowered losses with their terms: the sum over samples, of outputs [B, K], labels [B], class weights [K]."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xtrain.plugins import Lazy
from xtrain.spec import MSE, NLL, CrossEntropy, LossSpec, Lowerings, mean_of

if TYPE_CHECKING:
    import torch.nn.functional as F
    from torch import Tensor
else:
    F = Lazy("torch.nn.functional")

LossSum = Callable[["Tensor", "Tensor", "Tensor | None"], "Tensor"]
LOSSES: Lowerings[Callable[[Any], LossSum]] = Lowerings("torch", "loss")


def _term(call: str) -> Callable[[LossSpec], str]:
    """A call with the loss's weights and smoothing."""

    def term(loss: LossSpec) -> str:
        given = f", weight={list(loss.class_weights)}" if loss.class_weights else ""
        given += f", label_smoothing={loss.label_smoothing}" if isinstance(loss, CrossEntropy) else ""
        return mean_of(loss, f'{call}{given}, reduction="sum")')

    return term


@LOSSES.register(CrossEntropy, _term("F.cross_entropy(logits, labels"))
def cross_entropy(loss: CrossEntropy) -> LossSum:
    """F.cross_entropy."""
    rest: dict[str, Any] = {"reduction": "sum", "label_smoothing": loss.label_smoothing}
    return lambda logits, labels, weights: F.cross_entropy(logits, labels, weights, **rest)


@LOSSES.register(NLL, _term("F.nll_loss(outputs, labels"))
def nll(loss: NLL) -> LossSum:
    """F.nll_loss."""
    return lambda outputs, labels, weights: F.nll_loss(outputs, labels, weights, reduction="sum")


@LOSSES.register(MSE, _term("F.mse_loss(outputs, F.one_hot(labels)"))
def mse(loss: MSE) -> LossSum:
    """F.mse_loss with the one-hot labels."""

    def loss_sum(outputs: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        classes = outputs.shape[1]
        total = F.mse_loss(outputs, F.one_hot(labels, classes).to(outputs.dtype), reduction="sum")
        return total / classes if loss.reduction == "mean" else total

    return loss_sum
