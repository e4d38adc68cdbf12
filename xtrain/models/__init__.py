"""Model families: each turns a few options into a `ModelSpec`."""

from typing import Annotated, Any

from xtrain.errors import RecipeError, UsageError, suggest
from xtrain.models.base import MODELS, Family
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
from xtrain.spec.parts import OwnCode
from xtrain.spec.tensors import ShapeError, format_shape
from xtrain.spec.validation import validated

__all__ = [
    "MLP",
    "MODELS",
    "SVHNVGG",
    "VGG",
    "AnyModel",
    "Custom",
    "Family",
    "LeNet",
    "ResNet",
    "RowsLSTM",
    "SVHNResNet",
    "SimpleCNN",
    "WideResNet",
    "build",
    "place",
]

AnyModel = Annotated[Family, MODELS]

for _family in (MLP, LeNet, SimpleCNN, VGG, ResNet, WideResNet, SVHNResNet, SVHNVGG, RowsLSTM, Custom):
    MODELS.register(_family)


def place(family: Family, input_shape: Shape, classes: int) -> ModelSpec:
    """The family's layers over an input; `ShapeError` where they don't fit or don't give `classes` logits."""
    given = family.layers
    with OwnCode("whose layers() fails", family):
        layers = tuple(given(input_shape, classes) if callable(given) else given)
        for layer in layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"{layer!r:.80} is no layer")
    model = ModelSpec(family.name, input_shape, layers)
    if model.output_shape != (classes,):
        raise ShapeError(
            f"the last layer gives {format_shape(model.output_shape)}, the data has {classes} classes"
        )
    return model


def build(name: str, input_shape: Shape, classes: int, **options: Any) -> ModelSpec:
    """A model by name and options, such as `build("mlp", (1, 28, 28), 10, hidden=[512])`."""
    kind = MODELS.find(name)
    if kind is None:
        raise UsageError(f"unknown model {name!r}", remedy=suggest(name, MODELS.names()))
    family = validated(kind, {"name": name, **options}, where=f"model {name}")
    try:
        return place(family, input_shape, classes)
    except ShapeError as error:
        raise RecipeError(str(error), where=f"model {name}") from None
