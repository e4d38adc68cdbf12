"""Model families: each turns a few options into a `ModelSpec`."""

from typing import Annotated, Any, Protocol

from pydantic import Field

from xtrain.errors import RecipeError, UsageError, suggest
from xtrain.models.custom import Custom
from xtrain.models.lenet import LeNet
from xtrain.models.mlp import MLP
from xtrain.models.simplecnn import SimpleCNN
from xtrain.spec import Layer, ModelSpec, Shape
from xtrain.spec.layers import ShapeError, format_shape
from xtrain.validation import validated

AnyModel = Annotated[MLP | LeNet | SimpleCNN | Custom, Field(discriminator="name")]

FAMILIES: dict[str, type[MLP | LeNet | SimpleCNN | Custom]] = {
    "mlp": MLP,
    "lenet": LeNet,
    "simplecnn": SimpleCNN,
    "custom": Custom,
}


class Family(Protocol):
    """A model's options; `layout` is what they mean for so many classes."""

    @property
    def name(self) -> str:
        """Of the family."""

    def layout(self, classes: int) -> tuple[Layer, ...]:
        """The layers, the last one giving the logits."""


def place(family: Family, input_shape: Shape, classes: int) -> ModelSpec:
    """The family's layers over an input; `ShapeError` where they don't fit or don't give `classes` logits."""
    model = ModelSpec(family.name, input_shape, family.layout(classes))
    if model.output_shape != (classes,):
        raise ShapeError(
            f"the last layer gives {format_shape(model.output_shape)}, the data has {classes} classes"
        )
    return model


def build(name: str, input_shape: Shape, classes: int, **options: Any) -> ModelSpec:
    """A model by family name and options, such as `build("mlp", (1, 28, 28), 10, hidden=[512])`."""
    if name not in FAMILIES:
        raise UsageError(f"unknown model {name!r}", remedy=suggest(name, FAMILIES))
    family = validated(FAMILIES[name], options, where=f"model {name}")
    try:
        return place(family, input_shape, classes)
    except ShapeError as error:
        raise RecipeError(str(error), where=f"model {name}") from None
