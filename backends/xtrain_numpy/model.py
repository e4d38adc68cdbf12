"""A lowered model: tensors by canonical name, and functions over them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from xtrain.spec import ModelSpec, State, StepInput, trace
from xtrain_numpy.forward import Array, Backward, Noise
from xtrain_numpy.layers import Chain, lower


class NumpyModel:
    """`native` is the chain of layers; its tensors are float64."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.native = Chain(spec.nodes)
        self.tensors: State = {name: np.empty(tensor.shape) for name, tensor in spec.tensors.items()}

    def state(self) -> State:
        """A copy of every tensor of the spec."""
        return {name: tensor.copy() for name, tensor in self.tensors.items()}

    def load(self, state: State) -> None:
        """Take over a state, in place: optimizers keep their hold on the parameters."""
        for name, tensor in self.tensors.items():
            tensor[...] = state[name]

    def forward(self, images: Array, noise: Noise | None = None) -> tuple[Array, Backward]:
        """Logits [B, K], in training where there is noise, and the way back."""
        return self.native(self.tensors, images.astype(np.float64), noise)

    def predict(self, images: NDArray[np.float32]) -> Array:
        """Logits [B, K] in evaluation mode."""
        return self.forward(images)[0]

    def trace(
        self, images: NDArray[np.float32], step: StepInput | None, inputs: Mapping[str, Array] | None = None
    ) -> State:
        """Every layer's output by path, each layer fed its own input where `inputs` has one."""
        noise = self.noise(step) if step else None
        return trace(
            self.spec.nodes,
            images,
            inputs or {},
            layer=lambda node, x: lower(node)(self.tensors, x, noise)[0],
            give=lambda array: array.astype(np.float64),
            take=np.copy,
        )

    def noise(self, step: StepInput, batch: int = 0) -> Noise:
        """What the dropout masks of a batch of the step come from."""
        return self.spec.noise(step, batch)
