"""Lowered optimizers: in-place kernels for each parameter, in a cell that the training graph takes in."""

import math
from collections.abc import Sequence

import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, ops

from xtrain.errors import UnsupportedError
from xtrain.spec import SGD, Adagrad, Adam, AdamW, OptimizerSpec, RMSprop, State, StepInput
from xtrain_mindspore.model import MindSporeModel
from xtrain_mindspore.updates import (
    AdagradUpdate,
    AdamUpdate,
    Held,
    Rates,
    RMSpropUpdate,
    SGDUpdate,
    Update,
)


class MindSporeOptimizer:
    """An update cell with canonical state.

    MindSpore's own optimizers are passed over: they bind their buffers and their learning rate at the first
    step, after which what is loaded gets lost, and most have eps elsewhere than PyTorch.
    """

    def __init__(self, spec: OptimizerSpec, model: MindSporeModel) -> None:
        self._spec = spec
        self._parameters = {name: model.tensors[name] for name in model.spec.trainable}
        self._buffers = {
            f"{name}/{buffer}": Parameter(ops.zeros_like(parameter), name=f"{name}/{buffer}")
            for name, parameter in self._parameters.items()
            for buffer in spec.buffers
        }
        decayed = spec.decayed(model.spec)
        by_name = {
            buffer: ParameterTuple(self._buffers[f"{name}/{buffer}"] for name in self._parameters)
            for buffer in spec.buffers
        }
        weights = ParameterTuple(self._parameters.values())
        self.native = _lower(
            spec, Held(weights, by_name, tuple(name in decayed for name in self._parameters))
        )
        self._updates = 0

    def step(self, gradients: State, step: StepInput) -> None:
        """Update the parameters from given gradients."""
        self.apply([Tensor(gradients[name], tensor.dtype) for name, tensor in self._parameters.items()], step)

    def apply(self, gradients: Sequence[Tensor], step: StepInput) -> None:
        """Update the parameters from gradients in their order."""
        self.native(self.advance(step), *gradients)

    def advance(self, step: StepInput) -> Tensor:
        """Count one update and return what the cell takes for it besides the gradients."""
        self._updates += 1
        return _rates(self._spec, step, self._updates).tensor()

    def state(self) -> State:
        """`step` and each parameter's buffers; zeros before the first update."""
        buffers = {name: buffer.asnumpy().copy() for name, buffer in self._buffers.items()}
        return {"step": np.array(self._updates, dtype=np.int64), **buffers}

    def load(self, state: State) -> None:
        """Take over what `state` gave, in place."""
        self._updates = int(state["step"])
        for name, buffer in self._buffers.items():
            ops.assign(buffer, Tensor(state[name], buffer.dtype))


def _rates(spec: OptimizerSpec, step: StepInput, updates: int) -> Rates:
    lr, moved = step.lr, step.momentum
    average = 0.0 if spec.ema is None else 1.0 if updates == 1 else 1 - spec.ema
    match spec:
        case SGD():
            momentum = spec.momentum if moved is None else moved
            share = 1.0 if updates == 1 else 1 - spec.dampening
            return Rates(lr, momentum, lr * momentum if spec.nesterov else share, average=average)
        case Adam() | AdamW():
            beta1 = spec.betas[0] if moved is None else moved
            root = math.sqrt(1 - spec.betas[1] ** updates)
            corrected = lr * root / (1 - beta1**updates)
            return Rates(corrected, beta1, spec.eps * root, lr * spec.weight_decay, average)
        case RMSprop():
            return Rates(lr, spec.momentum if moved is None else moved, average=average)
        case Adagrad():
            return Rates(lr / (1 + (updates - 1) * spec.lr_decay), average=average)
    raise UnsupportedError(f"backend mindspore has no optimizer {spec!r}")


def _lower(spec: OptimizerSpec, held: Held) -> Update:
    match spec:
        case SGD():
            return SGDUpdate(spec, held)
        case Adam() | AdamW():
            return AdamUpdate(spec, held)
        case RMSprop():
            return RMSpropUpdate(spec, held)
        case Adagrad():
            return AdagradUpdate(spec, held)
    raise UnsupportedError(f"backend mindspore has no optimizer {spec!r}")
