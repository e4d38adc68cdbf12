"""A lowered model: an nn.Module with canonical names."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xtrain.spec import ModelSpec, State, StepInput
from xtrain_torch.layers import Chain, noise_tensor


class TorchModel:
    """`native` runs on its own too: `native(images)` gives logits in evaluation mode."""

    def __init__(self, spec: ModelSpec, device: str) -> None:
        self.spec, self.device = spec, device
        with torch.device("meta"):  # no weights are drawn, they come by load
            network = Chain(spec)
        self.native: nn.Module = network.to_empty(device=device)
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
        self.native.eval()
        with torch.inference_mode():
            logits: Tensor = self.native(torch.from_numpy(images).to(self.device))
        return logits.cpu().numpy()

    def trace(
        self,
        images: NDArray[np.float32],
        step: StepInput | None,
        inputs: Mapping[str, NDArray[Any]] | None = None,
    ) -> State:
        """Every layer's output by path, each layer fed its own input where `inputs` has one."""
        outputs: State = {}
        hooks = []
        for node in self.spec.walk():
            module = self.native.get_submodule(node.path)
            if inputs and node.path in inputs:
                hooks.append(module.register_forward_pre_hook(self._feeder(inputs[node.path])))
            hooks.append(module.register_forward_hook(_recorder(outputs, node.path)))
        self.native.train(step is not None)
        with torch.no_grad():
            self.native(torch.from_numpy(images).to(self.device), self.noise(step) if step else None)
        for hook in hooks:
            hook.remove()
        return outputs

    def noise(self, step: StepInput, first_row: int = 0) -> Tensor | None:
        """What this step's dropout masks come from."""
        return noise_tensor(step.dropout_keys, first_row, self.device)

    def _feeder(self, value: NDArray[Any]) -> Any:
        given = torch.from_numpy(value).to(self.device)
        return lambda module, args: (given, *args[1:])


def _recorder(outputs: State, path: str) -> Any:
    def record(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        outputs[path] = output.cpu().numpy().copy()

    return record
