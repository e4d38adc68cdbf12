"""Lowered losses with their terms: the sum over samples, of outputs [B, K], labels [B], class weights [K]."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xtrain.plugins import Lazy
from xtrain.spec import MSE, NLL, CrossEntropy, LossSpec, Lowerings, mean_of

if TYPE_CHECKING:
    import paddle
    import paddle.nn.functional as F
    from paddle import Tensor
else:
    paddle, F = Lazy("paddle"), Lazy("paddle.nn.functional")

LossSum = Callable[["Tensor", "Tensor", "Tensor | None"], "Tensor"]
LOSSES: Lowerings[Callable[[Any], LossSum]] = Lowerings("paddle", "loss")


def _term(call: str, where: str = "") -> Callable[[LossSpec], str]:
    """A call with the loss's weights, what all classes share where labels are smoothed, and a remark."""

    def term(loss: LossSpec) -> str:
        by_class = list(loss.class_weights) if loss.class_weights else ""
        total = f'{call}{by_class and f", weight={by_class}"}, reduction="sum")'
        if isinstance(loss, CrossEntropy) and loss.label_smoothing:
            smoothing, everywhere = loss.label_smoothing, f"(z - logsumexp(z)){by_class and f' * {by_class}'}"
            total = f"({1 - smoothing:g} * {total} - {smoothing} / classes * ({everywhere}).sum())"
        return mean_of(loss, total) + where

    return term


@LOSSES.register(CrossEntropy, _term("F.nll_loss(z - logsumexp(z), labels", where=", z = logits - max"))
def cross_entropy(loss: CrossEntropy) -> LossSum:
    """F.nll_loss of log-probabilities; all classes share what `label_smoothing` takes of it."""
    smoothing, nll_sum = loss.label_smoothing, nll(loss)

    def loss_sum(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        outputs = log_probabilities(logits)
        total = nll_sum(outputs, labels, weights)
        if smoothing:
            everywhere = outputs if weights is None else outputs * weights
            total = (1 - smoothing) * total - smoothing / logits.shape[1] * everywhere.sum()
        return total

    return loss_sum


@LOSSES.register(NLL, _term("F.nll_loss(outputs, labels"))
def nll(loss: LossSpec) -> LossSum:
    """F.nll_loss."""
    return lambda outputs, labels, weights: F.nll_loss(outputs, labels, weights, reduction="sum")


@LOSSES.register(MSE, _term("F.mse_loss(outputs, F.one_hot(labels)"))
def mse(loss: MSE) -> LossSum:
    """F.mse_loss with the one-hot labels."""

    def loss_sum(outputs: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        classes = outputs.shape[1]
        total = F.mse_loss(outputs, F.one_hot(labels, classes), reduction="sum")
        return total / classes if loss.reduction == "mean" else total

    return loss_sum


def log_probabilities(logits: Tensor) -> Tensor:
    """[B, K] each; written out, because F.log_softmax does not go below -64.

    The largest logit is taken off first, which keeps the digits of small losses and changes no gradient.
    """
    shifted = logits - logits.detach().max(1, keepdim=True)
    return shifted - paddle.logsumexp(shifted, 1, keepdim=True)
