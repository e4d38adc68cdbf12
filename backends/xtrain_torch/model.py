"""A lowered model: an nn.Module with canonical names."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xtrain.spec import Array, BatchNorm2d, Conv2d, ModelBase, ModelSpec, Node, Precision, StepInput
from xtrain_torch.engine import TorchGroup
from xtrain_torch.modules import Network, autocast, run, signed
from xtrain_torch.norm import synchronise

_NARROW = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TorchModel(ModelBase[Tensor]):
    """In `bf16` and `fp16` it computes under autocast: products in these, all that adds up in float32."""

    def __init__(self, spec: ModelSpec, device: str, precision: Precision = "float32") -> None:
        super().__init__(spec, device, precision)
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
        self.tensors = {name: network.state_dict(keep_vars=True)[name] for name in spec.tensors}

    def join(self, group: TorchGroup) -> None:
        """Batch norm sees the batches of all processes together from now on."""
        super().join(group)
        synchronise(self.native, group)

    def give(self, array: Array) -> Tensor:
        """A copy on the device."""
        return torch.tensor(array, device=self.device)

    def take(self, name: str, tensor: Tensor) -> Array:
        """A copy, in float32."""
        return tensor.detach().to(torch.float32).cpu().numpy().copy()

    @torch.no_grad()
    def put(self, name: str, tensor: Tensor, value: Array) -> None:
        """Copy a value into a tensor."""
        tensor.copy_(torch.from_numpy(value))

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits [B, K] in evaluation mode."""
        self.mode(training=False)
        with torch.inference_mode(), self.numerics():
            logits: Tensor = self.native(torch.from_numpy(images).to(self.device))
        return logits.cpu().numpy()

    @torch.no_grad()
    def layer(self, node: Node, x: Tensor, noise: Tensor | None) -> Tensor:
        """A module by its canonical name."""
        with autocast(x, self.native.narrow):
            return run([self.native.get_submodule(node.path)], x, noise)

    def mode(self, training: bool) -> None:
        """Training or evaluation."""
        if self.native.training != training:
            self.native.train(training)

    def noise(self, step: StepInput, batch: int = 0) -> Tensor | None:
        """`ModelSpec.noise` as int32 [1 + dropouts]; None where there is no dropout."""
        words = [signed(word) for word in self.spec.noise(step, batch)]
        return torch.tensor(words, dtype=torch.int32, device=self.device) if self.spec.dropouts else None


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
