"""Lowered optimizers: torch.optim, one fused kernel where there is one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xtrain.errors import UnsupportedError
from xtrain.spec import SGD, Adagrad, Adam, AdamW, OptimizerSpec, RMSprop, State, StepInput
from xtrain_torch.model import TorchModel


class TorchOptimizer:
    """A torch.optim optimizer with canonical state."""

    def __init__(self, spec: OptimizerSpec, model: TorchModel) -> None:
        self._spec = spec
        self._parameters = {name: model.tensors[name] for name in model.spec.trainable}
        decayed = spec.decayed(model.spec)
        self._decayed = [parameter for name, parameter in self._parameters.items() if name in decayed]
        self.native = self._fresh()
        self._averages: list[Tensor] = []
        if spec.ema is not None:
            self._averages = [torch.zeros_like(parameter) for parameter in self._parameters.values()]
        self._updates = 0

    def step(self, gradients: State, step: StepInput) -> None:
        """Update the parameters from given gradients."""
        for name, parameter in self._parameters.items():
            parameter.grad = _like(parameter, gradients[name])
        self.apply(step)
        self.clear()

    def apply(self, step: StepInput) -> None:
        """Update the parameters from the gradients they hold, which are used up by it."""
        self._updates += 1
        self._prepare()
        for group in self.native.param_groups:
            group["lr"] = step.lr
            if step.momentum is not None:
                _set_momentum(group, step.momentum)
        self.native.step()
        if self._spec.ema is not None:
            share = 1.0 if self._updates == 1 else 1 - self._spec.ema
            with torch.no_grad():
                torch._foreach_lerp_(self._averages, list(self._parameters.values()), share)

    def clear(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters.values():
            parameter.grad = None

    def state(self) -> State:
        """`step` and each parameter's buffers; zeros before the first update."""
        state: State = {"step": np.array(self._updates, dtype=np.int64)}
        for place, (name, parameter) in enumerate(self._parameters.items()):
            held = self.native.state[parameter]
            for buffer in self._spec.moments:
                value = held.get(buffer, torch.zeros_like(parameter))
                state[f"{name}/{buffer}"] = value.detach().cpu().numpy().copy()
            if self._averages:
                state[f"{name}/ema"] = self._averages[place].cpu().numpy().copy()
        return state

    def load(self, state: State) -> None:
        """Take over what `state` gave; at step 0 there is nothing to hold yet."""
        self._updates = int(state["step"])
        self.native = self._fresh()
        for place, (name, parameter) in enumerate(self._parameters.items()):
            if self._averages:
                self._averages[place].copy_(torch.from_numpy(state[f"{name}/ema"]))
            if self._updates == 0:
                continue
            held = self.native.state[parameter]
            held["step"] = torch.tensor(float(self._updates), device=parameter.device)
            for buffer in self._spec.moments:
                held[buffer] = _like(parameter, state[f"{name}/{buffer}"])

    def _fresh(self) -> torch.optim.Optimizer:
        decayed = {id(parameter) for parameter in self._decayed}
        others = [parameter for parameter in self._parameters.values() if id(parameter) not in decayed]
        groups = [(self._decayed, self._spec.weight_decay), (others, 0.0)]
        return _lower(self._spec, [{"params": some, "weight_decay": decay} for some, decay in groups if some])

    def _prepare(self) -> None:
        """Penalties, then clipping by value, then by the norm of all together."""
        spec = self._spec
        if spec.l1 or spec.l2:
            with torch.no_grad():
                gradients = [parameter.grad for parameter in self._decayed]
                torch._foreach_add_(gradients, torch._foreach_sign(self._decayed), alpha=spec.l1)
                torch._foreach_add_(gradients, self._decayed, alpha=spec.l2)
        if spec.clip_value is not None:
            torch.nn.utils.clip_grad_value_(self._parameters.values(), spec.clip_value)
        if spec.clip_norm is not None:
            self._clip_norm(spec.clip_norm)

    def _clip_norm(self, most: float) -> None:
        """As nn.utils.clip_grad_norm_, whose own norm adds up in float32.

        Of the gradients of an LSTM (65,536 values in one of them) it is 9e-7 off on the CPU.
        """
        gradients = [parameter.grad for parameter in self._parameters.values() if parameter.grad is not None]
        norms = [torch.linalg.vector_norm(gradient, dtype=torch.float64) for gradient in gradients]
        scale = (most / (torch.linalg.vector_norm(torch.stack(norms)) + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, scale.to(torch.float32))


def _like(parameter: Tensor, value: NDArray[Any]) -> Tensor:
    """A copy of `value` as the parameter lies in memory, which fused kernels take for granted."""
    return torch.empty_like(parameter, requires_grad=False).copy_(torch.from_numpy(value))


def _set_momentum(group: dict[str, Any], momentum: float) -> None:
    if "betas" in group:
        group["betas"] = (momentum, group["betas"][1])
    else:
        group["momentum"] = momentum


def _lower(spec: OptimizerSpec, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
    match spec:
        case SGD():
            return torch.optim.SGD(
                groups,
                lr=spec.lr,
                momentum=spec.momentum,
                dampening=spec.dampening,
                nesterov=spec.nesterov,
                fused=True,
            )
        case Adam():
            return torch.optim.Adam(groups, lr=spec.lr, betas=spec.betas, eps=spec.eps, fused=True)
        case AdamW():
            return torch.optim.AdamW(groups, lr=spec.lr, betas=spec.betas, eps=spec.eps, fused=True)
        case RMSprop():
            return torch.optim.RMSprop(
                groups,
                lr=spec.lr,
                alpha=spec.alpha,
                eps=spec.eps,
                momentum=spec.momentum,
                centered=spec.centered,
                foreach=True,
            )
        case Adagrad():
            return torch.optim.Adagrad(groups, lr=spec.lr, lr_decay=spec.lr_decay, eps=spec.eps, foreach=True)
    raise UnsupportedError(f"backend torch has no optimizer {spec!r}")
