"""Losses as values: names, arguments and defaults are PyTorch's."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Strict

from xtrain.spec.base import frozen
from xtrain.spec.layers import LogSoftmax
from xtrain.spec.parts import Parts

if TYPE_CHECKING:
    from xtrain.spec.model import ModelSpec

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

    @property
    def class_weights(self) -> Weights | None:
        """What a sample of each class weighs; None: all weigh alike."""
        return None

    def unfit(self, model: "ModelSpec") -> str:
        """Why the loss can't be taken of what the model gives, and what to do; empty where it can."""
        return ""


LOSSES = Parts[Loss](
    "Loss", "xtrain.losses", "name", ("name", "reduction", "class_weights", "unfit"), base="Loss"
)
LossSpec = Annotated[Loss, LOSSES]


@LOSSES.register
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


@LOSSES.register
@frozen
class NLL(Loss):
    """-output[label] times the label's weight, over a model that ends in `log_softmax`."""

    name: Literal["nll"] = "nll"
    class_weights: Weights | None = None

    def unfit(self, model: "ModelSpec") -> str:
        """It takes log-probabilities."""
        if isinstance(model.nodes[-1].layer, LogSoftmax):
            return ""
        return (
            "takes log-probabilities, and the model does not end in log_softmax; "
            'end its layers with { op = "log_softmax" }, or take cross_entropy'
        )


@LOSSES.register
@frozen
class MSE(Loss):
    """Squared distance of the output to the one-hot label, its mean over the classes.

    With `reduction` = "sum" the sum over the classes.
    """

    name: Literal["mse"] = "mse"
