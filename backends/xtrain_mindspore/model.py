"""A lowered model: an nn.Cell with canonical names."""

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, ops
from numpy.typing import NDArray

from xtrain.spec import Array, ModelBase, ModelSpec, Node, Precision, State, StepInput
from xtrain_mindspore.modules import Network, chain, run


class MindSporeModel(ModelBase[Parameter]):
    """All but `trace` runs as compiled graphs."""

    def __init__(self, spec: ModelSpec, device: str, precision: Precision = "float32") -> None:
        super().__init__(spec, device, precision)
        self.native = Network(spec)
        named = self.native.parameters_dict()
        self.tensors = {name: named[name] for name in spec.tensors}
        self._cells = dict(self.native.cells_and_names())

    def give(self, array: Array) -> Tensor:
        """A copy, which a device takes over with the step."""
        return Tensor(array)

    def take(self, name: str, tensor: Tensor) -> Array:
        """A copy."""
        array: Array = tensor.asnumpy().copy()
        return array

    def put(self, name: str, tensor: Tensor, value: Array) -> None:
        """Copy a value into a tensor."""
        ops.assign(tensor, Tensor(value, tensor.dtype))

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits [B, K] in evaluation mode."""
        self.mode(training=False)
        return self.take("", self.native(self.give(images)))

    def trace(self, *given: Any, **named: Any) -> State:
        """As for every model, but eagerly (PyNative): a compiled graph gives nothing away."""
        ms.set_context(mode=ms.PYNATIVE_MODE)
        try:
            return super().trace(*given, **named)
        finally:
            ms.set_context(mode=ms.GRAPH_MODE)

    def layer(self, node: Node, x: Tensor, noise: Tensor | None) -> Tensor:
        """A cell by its canonical name."""
        return run(chain([self._cells[node.path]]), x, noise)

    def mode(self, training: bool) -> None:
        """Training or evaluation: which of the two a graph is compiled for."""
        if self.native.training != training:
            self.native.set_train(training)

    def noise(self, step: StepInput, batch: int = 0) -> Tensor:
        """`ModelSpec.noise` as uint32 [1 + dropouts]."""
        return Tensor(np.array(self.spec.noise(step, batch), dtype=np.uint32))
