"""A lowered model: an nn.Layer with canonical names."""

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor

from xtrain.spec import Array, Linear, ModelBase, ModelSpec, Node, Precision
from xtrain_paddle.modules import Network, Noise, run


class PaddleModel(ModelBase[Tensor]):
    """A Linear's weight is [in, out] here."""

    def __init__(self, spec: ModelSpec, device: str, precision: Precision = "float32") -> None:
        super().__init__(spec, device, precision)
        self.native = Network(spec)
        named = self.native.state_dict()  # the tensors themselves, no copies
        self.tensors = {name: named[name] for name in spec.tensors}
        self._layers = dict(self.native.named_sublayers())
        self._transposed = {f"{node.path}.weight" for node in spec.walk() if isinstance(node.layer, Linear)}

    def give(self, array: Array) -> Tensor:
        """A copy on the device."""
        return paddle.to_tensor(array, place=self.device)

    def take(self, name: str, tensor: Tensor) -> Array:
        """A copy in PyTorch's layout of a tensor that has the shape of parameter `name`."""
        array: Array = tensor.numpy()  # copies
        return array.T.copy() if name in self._transposed else array

    def put(self, name: str, tensor: Tensor, value: Array) -> None:
        """Copy a value in PyTorch's layout into a tensor that has the shape of parameter `name`.

        The float64 of a run under NumPy is rounded.
        """
        single = np.asarray(value, dtype=np.float32)
        tensor.set_value(single.T if name in self._transposed else single)

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits [B, K] in evaluation mode."""
        self.mode(training=False)
        with paddle.no_grad():
            return self.take("", self.native(self.give(images)))

    @paddle.no_grad()
    def layer(self, node: Node, x: Tensor, noise: Noise | None) -> Tensor:
        """A layer by its canonical name."""
        return run([self._layers[node.path]], x, noise)

    def mode(self, training: bool) -> None:
        """Training or evaluation."""
        if self.native.training != training:
            self.native.train() if training else self.native.eval()
