"""Update cells, which the training graph takes in: a formula each, and around it what all optimizers have.

Kernels that update in place stand in for formulas wherever they can. P.ApplyMomentum at a rate of 0 keeps a
moving sum in a buffer and leaves the weight alone.
"""

from dataclasses import astuple, dataclass

import numpy as np
from mindspore import ParameterTuple, Tensor, nn
from mindspore.ops import operations as P

from xtrain.spec import SGD, Adagrad, Adam, AdamW, OptimizerSpec, RMSprop


@dataclass(frozen=True)
class Rates:
    """What changes from update to update.

    Args:
        lr: learning rate, with the bias correction where there is one.
        momentum: SGD's and RMSprop's momentum, Adam's beta1.
        third: the gradient's share in SGD's buffer, or nesterov's lr * momentum; Adam's eps.
        decay: what AdamW takes of a weight.
        average: share of the weights in their moving average.

    """

    lr: float
    momentum: float = 0.0
    third: float = 0.0
    decay: float = 0.0
    average: float = 0.0

    def tensor(self) -> Tensor:
        """float32 [5]: figures in float64, rounded once."""
        return Tensor(np.array(astuple(self), dtype=np.float32))


@dataclass(frozen=True)
class Held:
    """The tensors of an update: weights, their buffers by name, and which of the weights decay."""

    weights: ParameterTuple
    buffers: dict[str, ParameterTuple]
    decayed: tuple[bool, ...]


class Update(nn.Cell):
    """Penalties, clipping, the formula of a subclass, the moving average of the weights."""

    def __init__(self, spec: OptimizerSpec, held: Held) -> None:
        super().__init__(auto_prefix=False)
        self._weights, self._decayed = held.weights, held.decayed
        self._averages = held.buffers.get("ema")
        self._decay, self._l1, self._l2 = spec.weight_decay, spec.l1, spec.l2
        self._clip_value, self._clip_norm = spec.clip_value, spec.clip_norm
        self._unstack = P.Unstack(0, 5)  # one kernel, where each rates[i] is one and takes long to compile
        self._keep, self._descend = P.ApplyMomentum(), P.ApplyGradientDescent()
        self._sign, self._square, self._sqrt, self._sum = P.Sign(), P.Square(), P.Sqrt(), P.ReduceSum()
        self._maximum, self._minimum = P.Maximum(), P.Minimum()

    def construct(self, rates: Tensor, *gradients: Tensor) -> Tensor:
        """From `Rates.tensor` and the gradients of all weights."""
        lr, momentum, third, decay, average = self._unstack(rates)
        ready = self.prepared(gradients)
        for i in range(len(self._weights)):
            self.formula(i, ready[i], lr, momentum, third, decay)
            if self._averages is not None:
                self._descend(self._averages[i], average, self._averages[i] - self._weights[i])
        return lr

    def prepared(self, gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Penalties, then clipping by value, then by the norm of all together."""
        ready: tuple[Tensor, ...] = ()
        for i in range(len(self._weights)):
            gradient, weight = gradients[i], self._weights[i]
            if self._l1 and self._decayed[i]:
                gradient = gradient + self._l1 * self._sign(weight)
            if self._l2 and self._decayed[i]:
                gradient = gradient + self._l2 * weight
            if self._clip_value is not None:
                gradient = self._minimum(self._maximum(gradient, -self._clip_value), self._clip_value)
            ready = (*ready, gradient)
        return ready if self._clip_norm is None else self.scaled(ready)

    def scaled(self, gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """To a norm of `clip_norm` at most."""
        total = self._sum(self._square(gradients[0]))
        for i in range(1, len(gradients)):
            total = total + self._sum(self._square(gradients[i]))
        scale = self._minimum(self._clip_norm / (self._sqrt(total) + 1e-6), 1.0)
        scaled: tuple[Tensor, ...] = ()
        for i in range(len(gradients)):
            scaled = (*scaled, gradients[i] * scale)
        return scaled

    def coupled(self, i: int, gradient: Tensor) -> Tensor:
        """With weight decay."""
        if self._decay and self._decayed[i]:
            gradient = gradient + self._decay * self._weights[i]
        return gradient


class SGDUpdate(Update):
    """P.ApplyMomentum: buffer = momentum * buffer + g; w -= lr * buffer."""

    def __init__(self, spec: SGD, held: Held) -> None:
        super().__init__(spec, held)
        self._momenta = held.buffers.get("momentum_buffer")
        self._dampened, self._nesterov = spec.dampening != 0, spec.nesterov

    def formula(
        self, i: int, gradient: Tensor, lr: Tensor, momentum: Tensor, third: Tensor, decay: Tensor
    ) -> None:
        """One weight; nesterov's lr * (g + momentum * buffer) in two parts."""
        weight, gradient = self._weights[i], self.coupled(i, gradient)
        if self._momenta is None:
            self._descend(weight, lr, gradient)
        elif self._nesterov:
            self._keep(weight, self._momenta[i], third, gradient, momentum)
            self._descend(weight, lr, gradient)
        else:
            given = third * gradient if self._dampened else gradient
            self._keep(weight, self._momenta[i], lr, given, momentum)


class AdamUpdate(Update):
    """P.Adam for all but the second moment and the bias correction, where it is not PyTorch's.

    It has eps inside the correction (`Rates` bring PyTorch's) and takes 1 - beta2 in float32, 1e-5 off at
    0.999. So ApplyMomentum at a rate of 0 keeps the squares, and P.Adam gets a beta2 that leaves them alone.
    """

    def __init__(self, spec: Adam | AdamW, held: Held) -> None:
        super().__init__(spec, held)
        self._means, self._squares = held.buffers["exp_avg"], held.buffers["exp_avg_sq"]
        self._beta2, self._new = spec.betas[1], 1 - spec.betas[1]
        self._decoupled = isinstance(spec, AdamW)
        self._fused = P.Adam()

    def formula(
        self, i: int, gradient: Tensor, lr: Tensor, momentum: Tensor, third: Tensor, decay: Tensor
    ) -> None:
        """One weight."""
        weight, mean, square = self._weights[i], self._means[i], self._squares[i]
        if not self._decoupled:
            gradient = self.coupled(i, gradient)
        elif self._decay and self._decayed[i]:
            self._descend(weight, decay, weight)
        self._keep(weight, square, 0.0, self._new * self._square(gradient), self._beta2)
        self._fused(weight, mean, square, 0.0, 0.0, lr, momentum, 1.0, third, gradient)


class RMSpropUpdate(Update):
    """The formula: MindSpore's own kernels have eps inside the root."""

    def __init__(self, spec: RMSprop, held: Held) -> None:
        super().__init__(spec, held)
        self._squares = held.buffers["square_avg"]
        self._means, self._momenta = held.buffers.get("grad_avg"), held.buffers.get("momentum_buffer")
        self._alpha, self._new, self._eps = spec.alpha, 1 - spec.alpha, spec.eps

    def formula(
        self, i: int, gradient: Tensor, lr: Tensor, momentum: Tensor, third: Tensor, decay: Tensor
    ) -> None:
        """One weight."""
        weight, gradient = self._weights[i], self.coupled(i, gradient)
        self._keep(weight, self._squares[i], 0.0, self._new * self._square(gradient), self._alpha)
        variance = self._squares[i]
        if self._means is not None:
            self._keep(weight, self._means[i], 0.0, self._new * gradient, self._alpha)
            variance = variance - self._square(self._means[i])
        direction = gradient / (self._sqrt(variance) + self._eps)
        if self._momenta is None:
            self._descend(weight, lr, direction)
        else:
            self._keep(weight, self._momenta[i], lr, direction, momentum)


class AdagradUpdate(Update):
    """P.ApplyAdagradV2: sum += g^2; w -= lr * g / (sqrt(sum) + eps)."""

    def __init__(self, spec: Adagrad, held: Held) -> None:
        super().__init__(spec, held)
        self._sums, self._fused = held.buffers["sum"], P.ApplyAdagradV2(spec.eps)

    def formula(
        self, i: int, gradient: Tensor, lr: Tensor, momentum: Tensor, third: Tensor, decay: Tensor
    ) -> None:
        """One weight."""
        self._fused(self._weights[i], self._sums[i], lr, self.coupled(i, gradient))
