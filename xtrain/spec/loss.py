"""Losses as values: names, arguments and defaults are PyTorch's."""

from typing import Annotated, Literal

from pydantic import Field, Strict

from xtrain.spec.base import frozen

Weights = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Strict(False)]


@frozen
class Loss:
    """What every loss has.

    The loss of a batch is the sum over its samples divided by the sum of their weights, which are 1 where
    there are no class weights. `reduction` = "sum" leaves the division out of the gradient; what is
    reported is the mean all the same.

    Args:
        name: which loss it is.
        reduction: `mean`, or `sum`, which leaves the division out of the gradient.

    """

    name: str
    reduction: Literal["mean", "sum"] = "mean"


@frozen
class CrossEntropy(Loss):
    """logsumexp(logits) - logits[label], times the label's weight.

    With `label_smoothing` e that is (1 - e) of it, and e / K times the weighted sum over all K classes.

    Args:
        label_smoothing: e, from 0 to 1.
        class_weights: a number for each class, in the order of the labels.

    """

    name: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: Annotated[float, Field(ge=0, le=1)] = 0.0
    class_weights: Weights | None = None


@frozen
class NLL(Loss):
    """-output[label] times the label's weight, over a model that ends in `log_softmax`."""

    name: Literal["nll"] = "nll"
    class_weights: Weights | None = None


@frozen
class MSE(Loss):
    """Squared distance of the output to the one-hot label, its mean over the classes.

    With `reduction` = "sum" the sum over the classes.
    """

    name: Literal["mse"] = "mse"

    @property
    def class_weights(self) -> Weights | None:
        """None: all samples weigh alike."""
        return None


LossSpec = Annotated[CrossEntropy | NLL | MSE, Field(discriminator="name")]
