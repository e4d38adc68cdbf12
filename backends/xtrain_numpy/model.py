"""A lowered model: tensors by canonical name, and functions over them."""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from xtrain.spec import ModelSpec, State, StepInput, trace
from xtrain_numpy.layers import lower
from xtrain_numpy.modules import Array, Backward, Noise, run


class NumpyModel:
    """`native` is the layers one after the other; the tensors are float64."""

    # A run that diverges is told by its loss, once, and not by a warning for each operation on the way.
    numerics = staticmethod(partial(np.errstate, over="ignore", invalid="ignore"))

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.native = [lower(node) for node in spec.nodes]
        self.tensors: State = {name: np.empty(tensor.shape) for name, tensor in spec.tensors.items()}

    def state(self) -> State:
        """A copy of every tensor of the spec."""
        return {name: tensor.copy() for name, tensor in self.tensors.items()}

    def load(self, state: State) -> None:
        """Take over a state, in place: optimizers keep their hold on the parameters."""
        for name, tensor in self.tensors.items():
            tensor[...] = state[name]

    def forward(self, images: Array, noise: Noise = None) -> tuple[Array, Backward]:
        """Logits [B, K], in training where there is noise, and the way back."""
        return run(self.native, self.tensors, images.astype(np.float64), noise)

    def predict(self, images: NDArray[np.float32]) -> Array:
        """Logits [B, K] in evaluation mode."""
        with self.numerics():
            return self.forward(images)[0]

    def trace(
        self, images: NDArray[np.float32], step: StepInput | None, inputs: Mapping[str, Array] | None = None
    ) -> State:
        """Every layer's output by path, each layer fed its own input where `inputs` has one."""
        noise = self.noise(step) if step else None
        with self.numerics():
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
