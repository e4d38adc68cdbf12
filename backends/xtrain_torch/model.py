"""A lowered model: an nn.Module with canonical names."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xtrain.spec import BatchNorm2d, Conv2d, ModelSpec, Node, Precision, State, StepInput, trace
from xtrain_torch.modules import Network, autocast, noise_tensor, run

_NARROW = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TorchModel:
    """`native` runs on its own too: `native(images)` gives logits in evaluation mode.

    In `bf16` and `fp16` it computes under autocast: products in these, all that adds up in float32.
    """

    def __init__(self, spec: ModelSpec, device: str, precision: Precision = "float32") -> None:
        self.spec, self.device, self.precision = spec, device, precision
        with torch.device("meta"):  # no weights are drawn, they come by load
            network = Network(spec)
        network.to_empty(device=device)
        # Batch norm adds up its statistics in float32 there, in double otherwise: 4e-5 against 4e-6 in a VGG.
        kinds = {type(node.layer) for node in spec.walk()}
        if device == "cpu" and Conv2d in kinds and BatchNorm2d not in kinds:
            network.channels_last()
        network.narrow = _NARROW.get(precision)
        self.native = network
        self.numerics = nullcontext if device == "cpu" else partial(_numerics, precision == "tf32")
        self.tensors = {name: self.native.state_dict(keep_vars=True)[name] for name in spec.tensors}

    def state(self) -> State:
        """A copy of every tensor of the spec."""
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self.tensors.items()}

    def load(self, state: State) -> None:
        """Take over a state, in place: optimizers keep their hold on the parameters."""
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                tensor.copy_(torch.from_numpy(state[name]))

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits [B, K] in evaluation mode."""
        self.mode(training=False)
        with torch.inference_mode(), self.numerics():
            logits: Tensor = self.native(torch.from_numpy(images).to(self.device))
        return logits.cpu().numpy()

    def trace(
        self,
        images: NDArray[np.float32],
        step: StepInput | None,
        inputs: Mapping[str, NDArray[Any]] | None = None,
    ) -> State:
        """Every layer's output by path, each layer fed its own input where `inputs` has one."""
        noise = self.noise(step) if step else None
        self.mode(training=step is not None)
        with torch.no_grad(), self.numerics():
            return trace(
                self.spec.nodes,
                images,
                inputs or {},
                layer=lambda node, x: self._layer(node, x, noise),
                give=lambda array: torch.tensor(array, device=self.device),
                take=lambda x: x.to(torch.float32).cpu().numpy().copy(),
            )

    def _layer(self, node: Node, x: Tensor, noise: Tensor | None) -> Tensor:
        with autocast(x, self.native.narrow):
            return run([self.native.get_submodule(node.path)], x, noise)

    def mode(self, training: bool) -> None:
        """Training or evaluation."""
        if self.native.training != training:
            self.native.train(training)

    def noise(self, step: StepInput, batch: int = 0) -> Tensor | None:
        """What the dropout masks of a batch of the step come from; None where there is no dropout."""
        noise = self.spec.noise(step, batch)
        return noise_tensor(noise, self.device) if self.spec.dropouts else None


@contextmanager
def _numerics(tf32: bool) -> Iterator[None]:
    """A GPU's libraries for the time of a call: kernels that repeat, and TF32 only where it is asked for.

    torch lets cuDNN use it by default. The flags are the whole process's, so they go back to what they were.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32
    cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = True, tf32, tf32
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = before
