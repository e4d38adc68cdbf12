"""A lowered model: tensors in and out by canonical name, prediction, one layer."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from xtrain.spec import Array, ModelBase, ModelSpec, Node, Precision

from xtrain_newbackend.layers import lower
from xtrain_newbackend.unwritten import unwritten


class NewBackendModel(ModelBase[Any]):
    """`ModelBase` makes `state`, `load` and `trace` of the methods below."""

    def __init__(self, spec: ModelSpec, device: str, precision: Precision = "float32") -> None:
        super().__init__(spec, device, precision)
        self._layers = {node.path: lower(node) for node in spec.walk()}  # refuses what has no lowering
        self.tensors = {}  # one for each name of spec.tensors; `load` writes into them
        raise unwritten("model.py")

    def give(self, array: Array) -> Any:
        """An array as a tensor on the device: a copy, also where the framework could share memory."""
        raise unwritten("Model.give")

    def take(self, name: str, tensor: Any) -> Array:
        """A copy, in PyTorch's layout, of a tensor that has the shape of the parameter `name`."""
        raise unwritten("Model.take")

    def put(self, name: str, tensor: Any, value: Array) -> None:
        """Write a value in PyTorch's layout into a tensor that has the shape of the parameter `name`."""
        raise unwritten("Model.put")

    def layer(self, node: Node, x: Any, noise: Any) -> Any:
        """The output of one layer that is no residual, with no gradient to it."""
        raise unwritten("Model.layer")

    def predict(self, images: NDArray[np.float32]) -> Array:
        """Logits [B, K] in evaluation mode."""
        raise unwritten("Model.predict")
