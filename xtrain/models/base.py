"""What a model family has, and where families are looked up."""

from typing import Any, Protocol

from xtrain.spec.parts import Parts


class Family(Protocol):
    """A model's options; `layers(input_shape, classes)` is what they mean.

    It gives a tuple of layers for an input (channels, height, width), the last one giving the logits. A
    family whose recipe spells its layers out has them as a field of that name instead.
    """

    @property
    def name(self) -> str:
        """What selects the family, and what its model is called."""

    @property
    def layers(self) -> Any:
        """The layers, or the function that gives them."""


MODELS = Parts[Family]("Model", "xtrain.models", "name", ("name", "layers"))
