"""Update formulas with their terms: the kernels of torch.optim, over all tensors of a group together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from xtrain.plugins import Lazy
from xtrain.spec import FORMULAS, SGD, Adagrad, Adam, AdamW, Lowerings, Rates, RMSprop, Term

if TYPE_CHECKING:
    from torch import Tensor

torch: Any = Lazy("torch")
_adagrad, _rmsprop = Lazy("torch.optim.adagrad"), Lazy("torch.optim.rmsprop")

SHARED: dict[str, Term] = {
    **FORMULAS,
    "weight_decay": "weight_decay={weight_decay}",
    "decay_exclude": lambda spec: f"weight_decay=0.0 for these: {', '.join(spec.decay_exclude) or 'none'}",
    "clip_value": "nn.utils.clip_grad_value_({clip_value})",
    "clip_norm": "as nn.utils.clip_grad_norm_({clip_norm}), in float64",
    "ema": lambda spec: f"torch._foreach_lerp_(averages, weights, {1 - spec.ema:.6g})",
}
"""Terms of the keys that every optimizer has; what is not named here is an argument of the same name."""


@dataclass(frozen=True)
class Group:
    """Parameters with the same decay, their buffers in the same order, and the count of updates."""

    parameters: list[Tensor]
    buffers: dict[str, list[Tensor]]
    decay: float
    count: Tensor

    def held(self, buffer: str) -> list[Tensor]:
        """The buffers of a name; none where the optimizer keeps none."""
        return self.buffers.get(buffer, [])


def gradients_of(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Those that parameters hold: every parameter of a network is reached."""
    return [cast("Tensor", parameter.grad) for parameter in parameters]


def _counts(group: Group, rates: Rates) -> list[Tensor]:
    """Updates before this one: torch.optim's functions count for themselves."""
    return [torch.tensor(float(rates.updates - 1)) for _ in group.parameters]


UPDATES: Lowerings[Callable[[Any, Group, Rates], None]] = Lowerings("torch", "optimizer")


@UPDATES.register(SGD, {"name": "torch._fused_sgd_, of torch.optim.SGD(fused=True)"})
def sgd(spec: SGD, group: Group, rates: Rates) -> None:
    """The fused kernel of torch.optim.SGD; its first step sets the buffers to the gradients."""
    rest = {"dampening": spec.dampening, "nesterov": spec.nesterov, "maximize": False}
    rest |= {"lr": rates.lr, "momentum": rates.momentum, "is_first_step": rates.updates == 1}
    tensors = (group.parameters, gradients_of(group.parameters), group.held("momentum_buffer"))
    torch._fused_sgd_(*tensors, weight_decay=group.decay, **rest)


@UPDATES.register(Adam, {"name": "torch._fused_adam_, of torch.optim.Adam(fused=True)"})
@UPDATES.register(AdamW, {"name": "torch._fused_adamw_, of torch.optim.AdamW(fused=True)"})
def adam(spec: Adam | AdamW, group: Group, rates: Rates) -> None:
    """The fused kernels of torch.optim.Adam and AdamW, which correct the moments by the count."""
    kernel = torch._fused_adamw_ if isinstance(spec, AdamW) else torch._fused_adam_
    rest = {"lr": rates.lr, "beta1": rates.momentum, "beta2": spec.betas[1], "eps": spec.eps}
    tensors = (
        group.parameters,
        gradients_of(group.parameters),
        group.held("exp_avg"),
        group.held("exp_avg_sq"),
    )
    counts = [group.count] * len(group.parameters)
    kernel(*tensors, [], counts, weight_decay=group.decay, amsgrad=False, maximize=False, **rest)


@UPDATES.register(RMSprop, {"name": "torch.optim.rmsprop.rmsprop(foreach=True)"})
def rmsprop(spec: RMSprop, group: Group, rates: Rates) -> None:
    """torch.optim's own function, over all tensors together."""
    rest = {"lr": rates.lr, "momentum": rates.momentum, "alpha": spec.alpha, "eps": spec.eps}
    tensors = (
        group.parameters,
        gradients_of(group.parameters),
        *map(group.held, ("square_avg", "grad_avg", "momentum_buffer")),
    )
    rest |= {"centered": spec.centered, "weight_decay": group.decay}
    _rmsprop.rmsprop(*tensors, _counts(group, rates), foreach=True, **rest)


@UPDATES.register(Adagrad, {"name": "torch.optim.adagrad.adagrad(foreach=True)"})
def adagrad(spec: Adagrad, group: Group, rates: Rates) -> None:
    """torch.optim's own function, over all tensors together; its lr is decayed already."""
    rest = {"lr": rates.lr, "lr_decay": 0.0, "eps": spec.eps, "maximize": False}
    tensors = (group.parameters, gradients_of(group.parameters), group.held("sum"), _counts(group, rates))
    _adagrad.adagrad(*tensors, foreach=True, weight_decay=group.decay, **rest)
