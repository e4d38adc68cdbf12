"""A lowered model: tensors by canonical name, and functions over them."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from xtrain.spec import Array, ModelBase, ModelSpec, Node, Precision
from xtrain_numpy.layers import lower
from xtrain_numpy.modules import Backward, Noise, run


class NumpyModel(ModelBase[Array]):
    """`native` is the layers one after the other; the tensors are float64."""

    # A run that diverges is told by its loss, once, and not by a warning for each operation on the way.
    numerics = staticmethod(partial(np.errstate, over="ignore", invalid="ignore"))

    def __init__(self, spec: ModelSpec, device: str = "cpu", precision: Precision = "float32") -> None:
        super().__init__(spec, device, precision)
        self.native = [lower(node) for node in spec.nodes]
        self.tensors = {name: np.empty(tensor.shape) for name, tensor in spec.tensors.items()}

    def give(self, array: Array) -> Array:
        """As float64."""
        return array.astype(np.float64)

    def take(self, name: str, tensor: Array) -> Array:
        """A copy."""
        return tensor.copy()

    def put(self, name: str, tensor: Array, value: Array) -> None:
        """Copy a value into a tensor."""
        tensor[...] = value

    def forward(self, images: Array, noise: Noise = None) -> tuple[Array, Backward]:
        """Logits [B, K], in training where there is noise, and the way back."""
        return run(self.native, self.tensors, self.give(images), noise)

    def predict(self, images: NDArray[np.float32]) -> Array:
        """Logits [B, K] in evaluation mode."""
        with self.numerics():
            return self.forward(images)[0]

    def layer(self, node: Node, x: Array, noise: Noise) -> Array:
        """Lowered anew: a function costs nothing to make."""
        return lower(node)(self.tensors, x, noise)[0]
