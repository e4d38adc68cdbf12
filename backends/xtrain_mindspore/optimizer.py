"""Lowered optimizers: one fused kernel for each parameter, in a cell that the training graph takes in."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops
from mindspore.ops import operations as P

from xtrain.errors import UnsupportedError
from xtrain.spec import SGD, Adam, OptimizerSpec, State, StepInput
from xtrain_mindspore.model import MindSporeModel


class MindSporeOptimizer:
    """An update cell with canonical state.

    nn.SGD and nn.Adam are passed over: they bind their buffers and their learning rate at the first step,
    after which what is loaded gets lost, and nn.Adam has eps elsewhere than PyTorch.
    """

    def __init__(self, spec: OptimizerSpec, model: MindSporeModel) -> None:
        self._spec = spec
        self._parameters = {name: model.tensors[name] for name in model.spec.trainable}
        self._buffers = {
            f"{name}/{buffer}": Parameter(ops.zeros_like(parameter), name=f"{name}/{buffer}")
            for name, parameter in self._parameters.items()
            for buffer in spec.buffers
        }
        self.native = _lower(spec, self._parameters, self._buffers)
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
        return Tensor(np.array(_rates(self._spec, step.lr, self._updates), dtype=np.float32))

    def state(self) -> State:
        """`step` and each parameter's buffers; zeros before the first update."""
        buffers = {name: buffer.asnumpy().copy() for name, buffer in self._buffers.items()}
        return {"step": np.array(self._updates, dtype=np.int64), **buffers}

    def load(self, state: State) -> None:
        """Take over what `state` gave, in place."""
        self._updates = int(state["step"])
        for name, buffer in self._buffers.items():
            ops.assign(buffer, Tensor(state[name], buffer.dtype))


class SGDUpdate(nn.Cell):
    """P.ApplyMomentum: buffer = momentum * buffer + g; w -= lr * buffer."""

    def __init__(self, spec: SGD, parameters: ParameterTuple, buffers: ParameterTuple) -> None:
        super().__init__(auto_prefix=False)
        self._weights, self._held = parameters, buffers
        self._momentum, self._decay, self._nesterov = spec.momentum, spec.weight_decay, spec.nesterov
        self._dampened = spec.momentum != 0 and spec.dampening != 0
        self._descend, self._fused = P.ApplyGradientDescent(), P.ApplyMomentum()

    def construct(self, rates: Tensor, *gradients: Tensor) -> Tensor:
        """`rates` float32 [2]: lr, and the gradient's share in the buffer."""
        lr, share = rates[0], rates[1]
        for i in range(len(self._weights)):
            weight, gradient = self._weights[i], gradients[i]
            if self._decay:
                gradient = gradient + self._decay * weight
            if not self._momentum:
                self._descend(weight, lr, gradient)
            else:
                given = share * gradient if self._dampened else gradient
                if self._nesterov:  # lr * (g + momentum * buffer), in two parts
                    self._fused(weight, self._held[i], self._momentum * lr, given, self._momentum)
                    self._descend(weight, lr, gradient)
                else:
                    self._fused(weight, self._held[i], lr, given, self._momentum)
        return lr


class AdamUpdate(nn.Cell):
    """P.Adam for all but the second moment and the bias correction, where it is not PyTorch's.

    It has eps inside the correction (`_rates` brings PyTorch's) and takes 1 - beta2 in float32, 1e-5 off at
    0.999. So ApplyMomentum at a rate of 0 keeps the squares, and P.Adam gets a beta2 that leaves them alone.
    """

    def __init__(self, spec: Adam, parameters: ParameterTuple, buffers: ParameterTuple) -> None:
        super().__init__(auto_prefix=False)
        self._weights = parameters
        self._means, self._squares = ParameterTuple(buffers[::2]), ParameterTuple(buffers[1::2])
        self._beta1, self._beta2 = spec.betas
        self._new = 1 - self._beta2
        self._decay = spec.weight_decay
        self._keep, self._square, self._fused = P.ApplyMomentum(), P.Square(), P.Adam()

    def construct(self, rates: Tensor, *gradients: Tensor) -> Tensor:
        """`rates` float32 [2]: lr and eps, both bias-corrected."""
        lr, eps = rates[0], rates[1]
        for i in range(len(self._weights)):
            weight, mean, square, gradient = self._weights[i], self._means[i], self._squares[i], gradients[i]
            if self._decay:
                gradient = gradient + self._decay * weight
            self._keep(weight, square, 0.0, self._new * self._square(gradient), self._beta2)
            self._fused(weight, mean, square, 0.0, 0.0, lr, self._beta1, 1.0, eps, gradient)
        return lr


def _rates(spec: OptimizerSpec, lr: float, updates: int) -> tuple[float, float]:
    """What changes from update to update, computed in float64 and rounded once."""
    match spec:
        case SGD():
            return lr, 1.0 if updates == 1 else 1 - spec.dampening
        case Adam():
            root = math.sqrt(1 - spec.betas[1] ** updates)
            return lr * root / (1 - spec.betas[0] ** updates), spec.eps * root
    raise UnsupportedError(f"backend mindspore has no optimizer {spec!r}")


def _lower(
    spec: OptimizerSpec, parameters: Mapping[str, Parameter], buffers: Mapping[str, Parameter]
) -> nn.Cell:
    weights, held = ParameterTuple(parameters.values()), ParameterTuple(buffers.values())
    match spec:
        case SGD():
            return SGDUpdate(spec, weights, held)
        case Adam():
            return AdamUpdate(spec, weights, held)
    raise UnsupportedError(f"backend mindspore has no optimizer {spec!r}")
