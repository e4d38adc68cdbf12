"""A lowered model: tensors by canonical name, and a pure function over them."""

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from xtrain.spec import Array as HostArray
from xtrain.spec import ModelBase, ModelSpec, Node, Precision, StepInput
from xtrain_jax.modules import Network, device_of

_PRODUCTS = {"float32": "highest", "tf32": "tensorfloat32", "bf16": "highest"}


class JaxModel(ModelBase[Array]):
    """A step hands the tensors over and gets others: the dictionary stays, what it holds does not."""

    def __init__(self, spec: ModelSpec, device: str, precision: Precision = "float32") -> None:
        super().__init__(spec, device, precision)
        self._where = device_of(device)
        if self._where.platform != "cpu":  # there JAX multiplies more narrowly, unless it is told not to
            self.numerics = partial(jax.default_matmul_precision, _PRODUCTS[precision])
        narrow = jnp.bfloat16 if precision == "bf16" else jnp.float32
        self.native = Network(spec, narrow, unfold=self._where.platform == "cpu")
        self._words = lru_cache(1)(lambda words: self.give(np.array(words, dtype=np.uint32)))
        self.tensors = self.native.tensors
        for name, tensor in spec.tensors.items():
            self.tensors[name] = self.give(np.zeros(tensor.shape, dtype=np.float32))

    def give(self, array: HostArray) -> Array:
        """A copy on the device: JAX may stay with the memory of the array that it is given."""
        tensor: Array = jax.device_put(np.array(array), self._where)
        return tensor

    def take(self, name: str, tensor: Array) -> HostArray:
        """A copy."""
        return np.array(tensor)

    def put(self, name: str, tensor: Array, value: HostArray) -> None:
        """Let another tensor take the place of one."""
        self.tensors[name] = self.give(value)

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits [B, K] in evaluation mode."""
        with self.numerics():
            return self.take("", self.native(self.give(images)))

    def layer(self, node: Node, x: Array, noise: Any) -> Array:
        """By itself, its statistics moved."""
        network: Network = self.native
        y, moved = network.run([node], self.tensors, x, noise)
        self.tensors.update(moved)
        return y

    def noise(self, step: StepInput, batch: int = 0) -> Array:
        """`ModelSpec.noise` as uint32 [1 + dropouts], on the device; made anew where it has changed."""
        return self._words(self.spec.noise(step, batch))
