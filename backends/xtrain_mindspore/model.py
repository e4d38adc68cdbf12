"""A lowered model: an nn.Cell with canonical names."""

from collections.abc import Mapping
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops
from numpy.typing import NDArray

from xtrain.spec import ModelSpec, State, StepInput, trace
from xtrain_mindspore.modules import Network, chain, noise_tensor, run


class MindSporeModel:
    """`native` runs on its own too: `native(images)` gives logits in evaluation mode."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.native = Network(spec)
        parameters = self.native.parameters_dict()
        self.tensors = {name: parameters[name] for name in spec.tensors}

    def state(self) -> State:
        """A copy of every tensor of the spec."""
        return {name: tensor.asnumpy().copy() for name, tensor in self.tensors.items()}

    def load(self, state: State) -> None:
        """Take over a state, in place: compiled graphs and optimizers keep their hold on the parameters."""
        for name, tensor in self.tensors.items():
            ops.assign(tensor, Tensor(state[name], tensor.dtype))

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits [B, K] in evaluation mode."""
        self.mode(training=False)
        logits: NDArray[np.float32] = self.native(Tensor(images)).asnumpy()
        return logits

    def trace(
        self,
        images: NDArray[np.float32],
        step: StepInput | None,
        inputs: Mapping[str, NDArray[Any]] | None = None,
    ) -> State:
        """Every layer's output by path, each layer fed its own input where `inputs` has one.

        The only part that runs eagerly (PyNative): a compiled graph gives nothing away.
        """
        cells = dict(self.native.cells_and_names())
        noise = self.noise(step) if step else None
        self.mode(training=step is not None)
        ms.set_context(mode=ms.PYNATIVE_MODE)
        try:
            return trace(
                self.spec.nodes,
                images,
                inputs or {},
                layer=lambda node, x: run(chain([cells[node.path]]), x, noise),
                give=Tensor,
                take=lambda x: x.asnumpy().copy(),
            )
        finally:
            ms.set_context(mode=ms.GRAPH_MODE)

    def mode(self, training: bool) -> None:
        """Training or evaluation: which of the two a graph is compiled for."""
        if self.native.training != training:
            self.native.set_train(training)

    def noise(self, step: StepInput, batch: int = 0) -> Tensor:
        """What the dropout masks of a batch of the step come from."""
        return noise_tensor(self.spec.noise(step, batch))
