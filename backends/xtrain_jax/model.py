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
from xtrain_jax.layers import LAYERS
from xtrain_jax.modules import Noise, Pass, Tensors, canonical, channels_last, run


class JaxModel(ModelBase[Array]):
    """A step hands the tensors over and gets others: the dictionary stays, what it holds does not.

    `native(images)` gives logits in evaluation mode. It is a `functools.partial`: `native.func` is a pure
    function of tensors and images, `native.args` has the tensors that the model has now.
    """

    device: Any

    def __init__(self, spec: ModelSpec, device: Any, precision: Precision = "float32") -> None:
        super().__init__(spec, device, precision)
        for node in spec.walk():
            LAYERS.of(node.layer, node.path)  # refuses what has no lowering, before anything is traced
        self.tensors = {name: jnp.zeros(each.shape, device=device) for name, each in spec.tensors.items()}
        self.native = partial(jax.jit(lambda *given: self.apply(*given)[0]), self.tensors)
        self._words = lru_cache(1)(lambda words: self.give(np.array(words, dtype=np.uint32)))

    def give(self, array: HostArray) -> Array:
        """A copy on the device: JAX may stay with the memory of the array that it is given."""
        return jnp.array(array, device=self.device)

    def take(self, name: str, tensor: Array) -> HostArray:
        """A copy."""
        return np.array(tensor)

    def put(self, name: str, tensor: Array, value: HostArray) -> None:
        """Let another tensor take the place of one."""
        self.tensors[name] = self.give(value)

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits [B, K] in evaluation mode."""
        return self.take("", self.native(self.give(images)))

    def layer(self, node: Node, x: Array, noise: Noise) -> Array:
        """By itself, its statistics moved."""
        y, moved = self.apply(self.tensors, x, noise, node)
        self.tensors.update(moved)
        return y

    def noise(self, step: StepInput, batch: int = 0) -> Array:
        """`ModelSpec.noise` as uint32 [1 + dropouts], on the device; made anew where it has changed."""
        return self._words(self.spec.noise(step, batch))

    def apply(self, tensors: Tensors, x: Array, noise: Noise = None, *nodes: Node) -> tuple[Array, Tensors]:
        """Outputs, and the statistics that moved: a pure function of tensors, images [B, C, H, W] and noise.

        Where nodes are given it is of these layers alone. Without being told JAX multiplies more narrowly
        where there is hardware for it.
        """
        narrow = jnp.bfloat16 if self.precision == "bf16" else jnp.float32
        now = Pass(tensors, noise, narrow, self.device.platform == "cpu" and jax.__version_info__ >= (0, 10))
        with jax.default_matmul_precision("tensorfloat32" if self.precision == "tf32" else "highest"):
            return canonical(run(nodes or self.spec.nodes, now, channels_last(x))), now.moved
