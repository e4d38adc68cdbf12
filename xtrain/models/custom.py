"""A model that a recipe spells out layer by layer."""

from typing import Annotated, Literal

from pydantic import Strict

from xtrain.spec import AnyLayer
from xtrain.spec.base import frozen


@frozen
class Custom:
    """The layers as given; the last one must give one logit for each class.

    Args:
        layers: one after another, each named by its `op`; `xtrain summary` shows their shapes.

    """

    name: Literal["custom"] = "custom"
    layers: Annotated[tuple[AnyLayer, ...], Strict(False)] = ()
