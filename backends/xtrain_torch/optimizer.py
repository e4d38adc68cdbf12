"""Lowered optimizers: the kernels of torch.optim, one fused kernel for all tensors where there is one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.optim.adagrad import adagrad as update_adagrad
from torch.optim.rmsprop import rmsprop as update_rmsprop

from xtrain.errors import UnsupportedError
from xtrain.spec import SGD, Adagrad, Adam, AdamW, OptimizerSpec, RMSprop, State, StepInput
from xtrain_torch.model import TorchModel
from xtrain_torch.scaling import LossScaling


class TorchOptimizer:
    """The buffers stand here: torch.optim's classes look after their own at a cost that small steps feel.

    On two cores that is 0.13 ms of mnist_mlp's 3 ms and 0.17 ms of cifar10_lenet's 7.
    """

    def __init__(self, spec: OptimizerSpec, model: TorchModel) -> None:
        self._spec = spec
        self._parameters = {name: model.tensors[name] for name in model.spec.trainable}
        self._buffers = {
            buffer: [torch.zeros_like(parameter) for parameter in self._parameters.values()]
            for buffer in spec.buffers
        }
        decayed = spec.decayed(model.spec)
        self._decayed = [parameter for name, parameter in self._parameters.items() if name in decayed]
        self._groups = [
            self._group(lambda name: name in decayed, spec.weight_decay),
            self._group(lambda name: name not in decayed, 0.0),
        ]
        self._update = _lower(spec)
        self._count = torch.zeros((), device=model.device)  # updates, where kernels look for it
        self._updates = 0
        self._scaling = LossScaling() if model.precision == "fp16" else None

    @property
    def scale(self) -> float:
        """What the gradients that `apply` finds are to be scaled by."""
        return self._scaling.scale if self._scaling else 1.0

    def step(self, gradients: State, step: StepInput) -> None:
        """Update the parameters from given gradients."""
        for name, parameter in self._parameters.items():
            parameter.grad = torch.empty_like(parameter, requires_grad=False)
            parameter.grad.copy_(torch.from_numpy(gradients[name])).mul_(self.scale)
        self.apply(step)
        self.clear()

    @torch.no_grad()
    def apply(self, step: StepInput) -> None:
        """Update the parameters from the gradients they hold, which are used up by it."""
        if self._scaling and not self._scaling.undo(_gradients(self._parameters.values())):
            return
        self._updates += 1
        self._count.fill_(self._updates)
        self._prepare()
        for group in self._groups:
            if group.parameters:
                self._update(group, Now(step.lr, step.momentum, self._updates, self._count))
        if self._spec.ema is not None:
            share = 1.0 if self._updates == 1 else 1 - self._spec.ema
            torch._foreach_lerp_(self._buffers["ema"], list(self._parameters.values()), share)

    def clear(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters.values():
            parameter.grad = None

    def state(self) -> State:
        """`step` and each parameter's buffers; zeros before the first update."""
        state: State = {"step": np.array(self._updates, dtype=np.int64)}
        state |= self._scaling.state() if self._scaling else {}
        for buffer, tensors in self._buffers.items():
            for name, tensor in zip(self._parameters, tensors, strict=True):
                state[f"{name}/{buffer}"] = tensor.detach().cpu().numpy().copy()
        return state

    def load(self, state: State) -> None:
        """Take over what `state` gave."""
        self._updates = int(state["step"])
        if self._scaling:
            self._scaling.load(state)
        for buffer, tensors in self._buffers.items():
            for name, tensor in zip(self._parameters, tensors, strict=True):
                tensor.copy_(torch.from_numpy(state[f"{name}/{buffer}"]))

    def _group(self, has: Callable[[str], bool], decay: float) -> "Group":
        places = [place for place, name in enumerate(self._parameters) if has(name)]
        parameters = list(self._parameters.values())
        held = {buffer: [tensors[place] for place in places] for buffer, tensors in self._buffers.items()}
        return Group([parameters[place] for place in places], held, decay)

    def _prepare(self) -> None:
        """Penalties, then clipping by value, then by the norm of all together."""
        spec = self._spec
        if spec.l1 or spec.l2:
            gradients = _gradients(self._decayed)
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
        gradients = _gradients(self._parameters.values())
        norms = [torch.linalg.vector_norm(gradient, dtype=torch.float64) for gradient in gradients]
        scale = (most / (torch.linalg.vector_norm(torch.stack(norms)) + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, scale.to(torch.float32))


def _gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Those that parameters hold: every one of a chain is reached."""
    return [cast(Tensor, parameter.grad) for parameter in parameters]


@dataclass(frozen=True)
class Group:
    """Parameters with the same decay, and their buffers in the same order."""

    parameters: list[Tensor]
    buffers: dict[str, list[Tensor]]
    decay: float

    def gradients(self) -> list[Tensor]:
        """Those the parameters hold."""
        return _gradients(self.parameters)


@dataclass(frozen=True)
class Now:
    """What changes from update to update; `updates` counts this one, and `count` is the same as a tensor."""

    lr: float
    momentum: float | None
    updates: int
    count: Tensor


Update = Callable[[Group, Now], None]


def sgd(spec: SGD, group: Group, now: Now) -> None:
    """The fused kernel of torch.optim.SGD; its first step sets the buffers to the gradients."""
    torch._fused_sgd_(
        group.parameters,
        group.gradients(),
        group.buffers.get("momentum_buffer", []),
        weight_decay=group.decay,
        momentum=_or(now.momentum, spec.momentum),
        lr=now.lr,
        dampening=spec.dampening,
        nesterov=spec.nesterov,
        maximize=False,
        is_first_step=now.updates == 1,
    )


def adam(spec: Adam | AdamW, group: Group, now: Now) -> None:
    """The fused kernels of torch.optim.Adam and AdamW."""
    kernel = torch._fused_adamw_ if isinstance(spec, AdamW) else torch._fused_adam_
    kernel(
        group.parameters,
        group.gradients(),
        group.buffers["exp_avg"],
        group.buffers["exp_avg_sq"],
        [],
        [now.count] * len(group.parameters),
        lr=now.lr,
        beta1=_or(now.momentum, spec.betas[0]),
        beta2=spec.betas[1],
        weight_decay=group.decay,
        eps=spec.eps,
        amsgrad=False,
        maximize=False,
    )


def rmsprop(spec: RMSprop, group: Group, now: Now) -> None:
    """torch.optim's own function, over all tensors together."""
    update_rmsprop(
        group.parameters,
        group.gradients(),
        group.buffers["square_avg"],
        group.buffers.get("grad_avg", []),
        group.buffers.get("momentum_buffer", []),
        _counts(group, now),
        foreach=True,
        lr=now.lr,
        alpha=spec.alpha,
        eps=spec.eps,
        weight_decay=group.decay,
        momentum=_or(now.momentum, spec.momentum),
        centered=spec.centered,
    )


def adagrad(spec: Adagrad, group: Group, now: Now) -> None:
    """torch.optim's own function, over all tensors together."""
    update_adagrad(
        group.parameters,
        group.gradients(),
        group.buffers["sum"],
        _counts(group, now),
        foreach=True,
        lr=now.lr,
        weight_decay=group.decay,
        lr_decay=spec.lr_decay,
        eps=spec.eps,
        maximize=False,
    )


def _counts(group: Group, now: Now) -> list[Tensor]:
    """Updates before this one: these functions count for themselves."""
    return [torch.tensor(float(now.updates - 1)) for _ in group.parameters]


def _or(moved: float | None, given: float) -> float:
    return given if moved is None else moved


def _lower(spec: OptimizerSpec) -> Update:
    match spec:
        case SGD():
            return lambda group, now: sgd(spec, group, now)
        case Adam() | AdamW():
            return lambda group, now: adam(spec, group, now)
        case RMSprop():
            return lambda group, now: rmsprop(spec, group, now)
        case Adagrad():
            return lambda group, now: adagrad(spec, group, now)
    raise UnsupportedError(f"backend torch has no optimizer {spec!r}")
