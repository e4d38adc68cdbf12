"""Model families: each turns a few options into a `ModelSpec`."""

from typing import Annotated, Any, Protocol, get_args

from pydantic import Field

from xtrain.errors import RecipeError, UsageError, suggest
from xtrain.models.custom import Custom
from xtrain.models.lenet import LeNet
from xtrain.models.lstm import RowsLSTM
from xtrain.models.mlp import MLP
from xtrain.models.resnet import ResNet
from xtrain.models.simplecnn import SimpleCNN
from xtrain.models.svhn import SVHNVGG, SVHNResNet
from xtrain.models.vgg import VGG
from xtrain.models.wide_resnet import WideResNet
from xtrain.spec import Layer, ModelSpec, Shape
from xtrain.spec.tensors import ShapeError, format_shape
from xtrain.spec.validation import tags, validated

_Model = MLP | LeNet | SimpleCNN | VGG | ResNet | WideResNet | SVHNResNet | SVHNVGG | RowsLSTM | Custom
AnyModel = Annotated[_Model, Field(discriminator="name")]

FAMILIES: dict[str, type[_Model]] = {name: family for family in get_args(_Model) for name in tags(family)}
"""The family of each name; one that several names select has them all."""


class Family(Protocol):
    """A model's options; `layout` is what they mean for so many classes."""

    @property
    def name(self) -> str:
        """What selects the family, and what its model is called."""

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
    """A model by name and options, such as `build("mlp", (1, 28, 28), 10, hidden=[512])`."""
    if name not in FAMILIES:
        raise UsageError(f"unknown model {name!r}", remedy=suggest(name, FAMILIES))
    family = validated(FAMILIES[name], {"name": name, **options}, where=f"model {name}")
    try:
        return place(family, input_shape, classes)
    except ShapeError as error:
        raise RecipeError(str(error), where=f"model {name}") from None
