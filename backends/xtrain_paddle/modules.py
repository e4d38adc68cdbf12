"""The layers that the lowering table makes besides Paddle's own, and the network that holds them all."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.autograd import PyLayer

from xtrain.spec import ModelSpec, Node, Tree, keep_mask
from xtrain_paddle.layers import lower

Noise = tuple[int, ...]
"""`ModelSpec.noise`: it stays with NumPy, which makes the masks."""

_TREE = Tree[nn.Layer]("paddle", nn.Layer, lambda layer: dict(layer.named_children()), nn.Layer.add_sublayer)


class Network(nn.Layer):
    """Layers one after the other, each registered under its canonical name."""

    def __init__(self, model: ModelSpec) -> None:
        super().__init__()
        self._chain = _TREE.attach_all(self, lower, model.nodes)

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """Outputs [B, ...]; `noise` is what dropout masks come from in training."""
        return run(self._chain, x, noise)


class Residual(nn.Layer):
    """body(x) + shortcut(x); an empty shortcut is the identity."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._body = _TREE.attach_all(self, lower, node.body, f"{node.path}.")
        self._shortcut = _TREE.attach_all(self, lower, node.shortcut, f"{node.path}.")

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """Outputs of the body's shape."""
        return run(self._body, x, noise) + run(self._shortcut, x, noise)


class Conv2d(nn.Conv2D):
    """nn.Conv2D, with a quicker way to its bias on the CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [B, out_channels, H, W]."""
        if self.bias is None or not x.place.is_cpu_place():
            return super().forward(x)
        outputs = F.conv2d(x, self.weight, None, self._stride, self._padding)
        # Paddle gives PyLayer.apply no types.
        return AddBias.apply(outputs, self.bias)  # type: ignore[no-any-return, no-untyped-call]


class AddBias(PyLayer):
    """x [B, C, H, W] + bias [C] as matrix products.

    Paddle's broadcast addition and its gradient take 30 of the 66 ms of a SimpleCNN's step, these 2.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor) -> Tensor:
        """Write into x: a convolution's gradient does not need what it gave."""
        batch, channels, height, width = x.shape
        rows = x.reshape([batch * channels, height * width])
        rows.addmm_(bias.tile([batch]).unsqueeze(1), paddle.ones([1, height * width]))
        return rows.reshape(x.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Sum over positions, then over the batch."""
        batch, channels, height, width = gradient.shape
        rows = gradient.reshape([batch * channels, height * width])
        sums = paddle.mv(rows, paddle.ones([height * width]))
        return gradient, sums.reshape([batch, channels]).sum(0)


class MaxPool2d(nn.MaxPool2D):
    """nn.MaxPool2D that makes a mask and keeps it to itself.

    Without a mask the gradient searches for the maxima again, which takes twice the time.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [B, C, H, W]."""
        outputs: Tensor = super().forward(x)[0]
        return outputs


class BatchNorm2d(nn.Layer):
    """F.batch_norm; names of the running statistics and the variance in them are PyTorch's."""

    def __init__(self, channels: int, eps: float, momentum: float) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = self.create_parameter([channels])
        self.bias = self.create_parameter([channels], is_bias=True)
        self.register_buffer("running_mean", paddle.zeros([channels]))
        self.register_buffer("running_var", paddle.ones([channels]))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [B, C, H, W]; in training the running statistics move."""
        means, variances = self.running_mean, self.running_var
        affine = (self.weight, self.bias)
        if not self.training:
            return F.batch_norm(x, means, variances, *affine, epsilon=self.eps)
        count = x.size // x.shape[1]
        if count == 1:
            raise ValueError(f"batch norm needs more than 1 value per channel in training, got {[*x.shape]}")
        # With momentum 0 the running statistics that come out are the batch's own.
        mean, variance = paddle.zeros_like(means), paddle.zeros_like(variances)
        y = F.batch_norm(x, mean, variance, *affine, training=True, momentum=0.0, epsilon=self.eps)
        with paddle.no_grad():
            # Some of the GPU's kernels give an unbiased variance and some do not.
            on_cpu = x.place.is_cpu_place()
            unbiased = variance * (count / (count - 1)) if on_cpu else x.var(axis=[0, 2, 3], unbiased=True)
            for running, batch in ((means, mean), (variances, unbiased)):
                running.scale_(1 - self.momentum).add_(batch * self.momentum)
        return y


class Function(nn.Layer):
    """A layer without tensors of its own, as a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, x: Tensor) -> Tensor:
        """What the function makes of x."""
        return self._function(x)


class LSTM(nn.LSTM):
    """nn.LSTM without its last state."""

    def __init__(self, features: int, hidden_size: int, num_layers: int) -> None:
        super().__init__(features, hidden_size, num_layers)
        # Its cells hold the same parameters under other names, and `forward` does without them.
        del self[:]  # type: ignore[arg-type]  # Paddle's list of layers takes a slice too

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # no state is fed
        """[B, T, F] to [B, T, hidden]."""
        outputs: Tensor = super().forward(x)[0]
        return outputs


class Dropout(nn.Layer):
    """x * mask / (1 - p), with the mask of `xtrain.spec.dropout`; `index` is the layer's key in the noise."""

    def __init__(self, p: float, index: int) -> None:
        super().__init__()
        self.p, self.index = p, index

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """In evaluation mode, or without noise, the identity."""
        if not self.training or noise is None:
            return x
        # NumPy makes the mask quicker than Paddle's integer kernels on the CPU.
        kept = keep_mask(noise[1 + self.index], self.p, tuple(x.shape), noise[0])
        return x * paddle.to_tensor(kept * np.float32(1 / (1 - self.p)), place=x.place)


def run(layers: Sequence[nn.Layer], x: Tensor, noise: Noise | None) -> Tensor:
    """Pass x through the layers; those that draw get the noise as well."""
    for layer in layers:
        x = layer(x, noise) if isinstance(layer, Dropout | Residual) else layer(x)
    return x
