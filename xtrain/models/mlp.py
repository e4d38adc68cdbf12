"""Multilayer perceptron: fully connected layers with ReLU between them."""

from typing import Literal

from xtrain.spec import Dropout, Flatten, Layer, Linear, ReLU, Shape
from xtrain.spec.base import Counts, Fraction, frozen


def head(hidden: tuple[int, ...], classes: int, dropout: float) -> tuple[Layer, ...]:
    """Hidden layers, each with ReLU (and dropout where it is not 0), then the logits."""
    layers: list[Layer] = []
    for features in hidden:
        layers += [Linear(out_features=features), ReLU()]
        layers += [Dropout(p=dropout)] if dropout else []
    return (*layers, Linear(out_features=classes))


@frozen
class MLP:
    """Any number of hidden layers over the flattened image."""

    name: Literal["mlp"] = "mlp"
    hidden: Counts = (512, 512)
    dropout: Fraction = 0.0

    def layers(self, input_shape: Shape, classes: int) -> tuple[Layer, ...]:
        """Flatten, hidden layers, logits."""
        return (Flatten(), *head(self.hidden, classes, self.dropout))
