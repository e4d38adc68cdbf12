"""A lowered model: an nn.Layer with canonical names."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor

from xtrain.spec import Linear, ModelSpec, State, StepInput, trace
from xtrain_paddle.modules import Network, Noise, run


class PaddleModel:
    """`native` runs on its own too: `native(images)` gives logits in evaluation mode."""

    def __init__(self, spec: ModelSpec, device: str) -> None:
        self.spec, self.device = spec, device
        self.native = Network(spec)
        named = self.native.state_dict()  # the tensors themselves, no copies
        self.tensors: dict[str, Tensor] = {name: named[name] for name in spec.tensors}
        self._transposed = {f"{node.path}.weight" for node in spec.walk() if isinstance(node.layer, Linear)}

    def state(self) -> State:
        """A copy of every tensor of the spec."""
        return {name: self.to_canonical(name, tensor) for name, tensor in self.tensors.items()}

    def load(self, state: State) -> None:
        """Take over a state, in place: optimizers keep their hold on the parameters."""
        for name, tensor in self.tensors.items():
            tensor.set_value(self.from_canonical(name, state[name]))

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits [B, K] in evaluation mode."""
        self.mode(training=False)
        with paddle.no_grad():
            logits: Tensor = self.native(paddle.to_tensor(images, place=self.device))
        return np.asarray(logits.numpy())

    def trace(
        self,
        images: NDArray[np.float32],
        step: StepInput | None,
        inputs: Mapping[str, NDArray[Any]] | None = None,
    ) -> State:
        """Every layer's output by path, each layer fed its own input where `inputs` has one."""
        noise = self.noise(step) if step else None
        self.mode(training=step is not None)
        layers = dict(self.native.named_sublayers())
        with paddle.no_grad():
            return trace(
                self.spec.nodes,
                images,
                inputs or {},
                layer=lambda node, x: run([layers[node.path]], x, noise),
                give=lambda array: paddle.to_tensor(array, place=self.device),
                take=lambda x: x.numpy(),
            )

    def mode(self, training: bool) -> None:
        """Training or evaluation."""
        if self.native.training != training:
            self.native.train() if training else self.native.eval()

    def noise(self, step: StepInput, batch: int = 0) -> Noise | None:
        """What the dropout masks of a batch of the step come from; None where there is no dropout."""
        noise = self.spec.noise(step, batch)
        return noise if self.spec.dropouts else None

    def to_canonical(self, name: str, value: Tensor) -> NDArray[Any]:
        """A copy in PyTorch's layout of a tensor that has the shape of parameter `name`."""
        array: NDArray[Any] = value.numpy()  # copies
        return array.T.copy() if name in self._transposed else array

    def from_canonical(self, name: str, value: NDArray[Any]) -> NDArray[Any]:
        """The same array in Paddle's layout, where a Linear's weight is [in, out]; float64 is rounded."""
        single = np.asarray(value, dtype=np.float32)
        return single.T if name in self._transposed else single
