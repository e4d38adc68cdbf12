"""A lowered optimizer: what is done around every update formula."""

from collections.abc import Sequence

import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops
from mindspore.ops import operations as P

from xtrain.spec import AdamW, OptimizerBase, OptimizerSpec, State, StepInput
from xtrain_mindspore.model import MindSporeModel
from xtrain_mindspore.updates import UPDATES, scalars


class MindSporeOptimizer(OptimizerBase[Parameter]):
    """An update cell with canonical state.

    MindSpore's own optimizers are passed over: they bind their buffers and their learning rate at the first
    step, after which what is loaded gets lost, and most have eps elsewhere than PyTorch.
    """

    def __init__(self, spec: OptimizerSpec, model: MindSporeModel) -> None:
        super().__init__(spec, model, lambda name, w: Parameter(ops.zeros_like(w), name=name))
        self.native = Update(spec, self._parameters, self._buffers, self._decayed)

    def step(self, gradients: State, step: StepInput) -> None:
        """Update the parameters from given gradients."""
        self.apply([Tensor(gradients[name], tensor.dtype) for name, tensor in self._parameters.items()], step)

    def apply(self, gradients: Sequence[Tensor], step: StepInput) -> None:
        """Update the parameters from gradients in their order."""
        self.native(self.advance(step), *gradients)

    def advance(self, step: StepInput) -> Tensor:
        """Count one update and return its `scalars` float32 [5], worked out in float64 and rounded once."""
        return Tensor(np.array(scalars(self._spec, self._advance(step)), dtype=np.float32))


class Update(nn.Cell):
    """What the training graph takes in: all that happens to parameters once their gradients are there."""

    def __init__(
        self, spec: OptimizerSpec, parameters: State, buffers: State, decayed: frozenset[str]
    ) -> None:
        super().__init__(auto_prefix=False)
        self._update = UPDATES.of(spec)(spec)
        self.parameters = ParameterTuple(parameters.values())
        self._moments = tuple(
            ParameterTuple(buffers[f"{name}/{buffer}"] for buffer in spec.moments) for name in parameters
        )
        averages = [buffers[f"{name}/ema"] for name in parameters if spec.ema is not None]
        self._averages = ParameterTuple(averages) if averages else None
        self._decayed = tuple(name in decayed for name in parameters)
        self._decay, self._decoupled = spec.weight_decay, isinstance(spec, AdamW)
        self._l1, self._l2 = spec.l1, spec.l2
        self._clip_value, self._most = spec.clip_value, spec.clip_norm
        self._unstack = P.Unstack(0, 5)  # one kernel, where each scalars[i] is one and takes long to compile
        self._descend, self._maximum, self._minimum = P.ApplyGradientDescent(), P.Maximum(), P.Minimum()
        self._sign, self._square, self._sqrt, self._sum = P.Sign(), P.Square(), P.Sqrt(), P.ReduceSum()

    def construct(self, scalars: Tensor, *gradients: Tensor) -> Tensor:
        """From `scalars` float32 [5] and the gradients of all parameters."""
        lr, momentum, own, decay, average = self._unstack(scalars)
        ready = self._prepare(gradients)
        for i in range(len(self.parameters)):
            parameter, gradient = self.parameters[i], ready[i]
            if self._decay and self._decayed[i]:
                if self._decoupled:
                    self._descend(parameter, decay, parameter)
                else:
                    gradient = gradient + self._decay * parameter
            self._update(parameter, gradient, (lr, momentum, own), *self._moments[i])
            if self._averages is not None:
                self._descend(self._averages[i], average, self._averages[i] - parameter)
        return lr

    def _prepare(self, gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Penalties, then clipping by value, then by the norm of all together."""
        ready: tuple[Tensor, ...] = ()
        for i in range(len(self.parameters)):
            gradient, parameter = gradients[i], self.parameters[i]
            if self._l1 and self._decayed[i]:
                gradient = gradient + self._l1 * self._sign(parameter)
            if self._l2 and self._decayed[i]:
                gradient = gradient + self._l2 * parameter
            if self._clip_value is not None:
                gradient = self._minimum(self._maximum(gradient, -self._clip_value), self._clip_value)
            ready = (*ready, gradient)
        return ready if self._most is None else self._clip_norm(ready)

    def _clip_norm(self, gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """To a norm of `clip_norm` at most."""
        total = self._sum(self._square(gradients[0]))
        for i in range(1, len(gradients)):
            total = total + self._sum(self._square(gradients[i]))
        scale = self._minimum(self._most / (self._sqrt(total) + 1e-6), 1.0)
        return tuple([gradient * scale for gradient in gradients])
