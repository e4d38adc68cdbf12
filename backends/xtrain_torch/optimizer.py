"""Lowered optimizers: torch.optim, one fused kernel where there is one."""

import numpy as np
import torch

from xtrain.errors import UnsupportedError
from xtrain.spec import SGD, Adam, OptimizerSpec, State, StepInput
from xtrain_torch.model import TorchModel


class TorchOptimizer:
    """A torch.optim optimizer with canonical state."""

    def __init__(self, spec: OptimizerSpec, model: TorchModel) -> None:
        self._spec = spec
        self._parameters = {name: model.tensors[name] for name in model.spec.trainable}
        self._native = _lower(spec, list(self._parameters.values()))
        self._updates = 0

    def step(self, gradients: State, step: StepInput) -> None:
        """Update the parameters from given gradients."""
        for name, parameter in self._parameters.items():
            parameter.grad = torch.from_numpy(gradients[name]).to(parameter)
        self.apply(step)
        self.clear()

    def apply(self, step: StepInput) -> None:
        """Update the parameters from the gradients they hold."""
        for group in self._native.param_groups:
            group["lr"] = step.lr
        self._native.step()
        self._updates += 1

    def clear(self) -> None:
        """Forget the gradients."""
        self._native.zero_grad(set_to_none=True)

    def state(self) -> State:
        """`step` and each parameter's buffers; zeros before the first update."""
        state: State = {"step": np.array(self._updates, dtype=np.int64)}
        for name, parameter in self._parameters.items():
            held = self._native.state[parameter]
            for buffer in self._spec.buffers:
                value = held.get(buffer, torch.zeros_like(parameter))
                state[f"{name}/{buffer}"] = value.detach().cpu().numpy().copy()
        return state

    def load(self, state: State) -> None:
        """Take over what `state` gave; at step 0 there is nothing to hold yet."""
        self._updates = int(state["step"])
        self._native.state.clear()
        if self._updates == 0:
            return
        for name, parameter in self._parameters.items():
            held = self._native.state[parameter]
            held["step"] = torch.tensor(float(self._updates), device=parameter.device)
            for buffer in self._spec.buffers:
                # A copy: the state stays the caller's.
                held[buffer] = torch.from_numpy(state[f"{name}/{buffer}"]).to(parameter, copy=True).detach()


def _lower(spec: OptimizerSpec, parameters: list[torch.Tensor]) -> torch.optim.Optimizer:
    match spec:
        case SGD():
            return torch.optim.SGD(
                parameters,
                lr=spec.lr,
                momentum=spec.momentum,
                dampening=spec.dampening,
                nesterov=spec.nesterov,
                weight_decay=spec.weight_decay,
                fused=True,
            )
        case Adam():
            return torch.optim.Adam(
                parameters,
                lr=spec.lr,
                betas=spec.betas,
                eps=spec.eps,
                weight_decay=spec.weight_decay,
                fused=True,
            )
    raise UnsupportedError(f"backend torch has no optimizer {spec!r}")
