"""The lowering table: one function for each layer of the vocabulary."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn
from mindspore.ops import operations as P

from xtrain.errors import UnsupportedError
from xtrain.spec import ModelSpec, Node, pools_first
from xtrain.spec import layers as spec
from xtrain.spec.dropout import MULTIPLIERS, SHIFTS, threshold
from xtrain_mindspore.recurrent import last, lstm, rows

_UNDRAWN = {"weight_init": "zeros", "bias_init": "zeros"}  # no weights are drawn, they come by load
_CANONICAL = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}


def conv2d(node: Node, layer: spec.Conv2d) -> nn.Cell:
    """nn.Conv2d, whose own defaults are 'same' padding and no bias."""
    channels = node.input_shape[0]
    size, stride, padding = layer.kernel_size, layer.stride, layer.padding
    return nn.Conv2d(
        channels, layer.out_channels, size, stride, "pad", padding, has_bias=layer.bias, **_UNDRAWN
    )


def linear(node: Node, layer: spec.Linear) -> nn.Cell:
    """nn.Dense."""
    return nn.Dense(node.input_shape[0], layer.out_features, has_bias=layer.bias, **_UNDRAWN)


def batch_norm2d(node: Node, layer: spec.BatchNorm2d) -> nn.Cell:
    """nn.BatchNorm2d, whose momentum is the share of the old statistics."""
    return BatchNorm2d(node.input_shape[0], eps=layer.eps, momentum=1 - layer.momentum)


def relu(node: Node, layer: spec.ReLU) -> nn.Cell:
    """nn.ReLU."""
    return nn.ReLU()


def max_pool2d(node: Node, layer: spec.MaxPool2d) -> nn.Cell:
    """P.MaxPoolWithArgmax, which takes no padding; else nn.MaxPool2d, a slower kernel both ways."""
    if layer.padding:
        return nn.MaxPool2d(layer.kernel_size, layer.step, "pad", layer.padding)
    return MaxPool2d(layer.kernel_size, layer.step)


def avg_pool2d(node: Node, layer: spec.AvgPool2d) -> nn.Cell:
    """nn.AvgPool2d."""
    mode = "pad" if layer.padding else "valid"
    return nn.AvgPool2d(layer.kernel_size, layer.step, mode, layer.padding)


def adaptive_avg_pool2d(node: Node, layer: spec.AdaptiveAvgPool2d) -> nn.Cell:
    """nn.AvgPool2d where all cells of the grid are alike, which is twice as fast."""
    _, height, width = node.input_shape
    if height % layer.output_size or width % layer.output_size:
        return nn.AdaptiveAvgPool2d(layer.output_size)
    window = (height // layer.output_size, width // layer.output_size)
    return nn.AvgPool2d(window, window)


def flatten(node: Node, layer: spec.Flatten) -> nn.Cell:
    """P.Flatten; nn.Flatten takes longer to compile."""
    return Flatten()


def dropout(node: Node, layer: spec.Dropout) -> nn.Cell:
    """Dropout whose mask comes from the plan."""
    return Dropout(layer.p, math.prod(node.input_shape), node.dropout)


def log_softmax(node: Node, layer: spec.LogSoftmax) -> nn.Cell:
    """nn.LogSoftmax."""
    return nn.LogSoftmax(1)


def residual(node: Node, layer: spec.Residual) -> nn.Cell:
    """body(x) + shortcut(x)."""
    return Residual(node)


TABLE: dict[type[spec.Layer], Callable[[Node, Any], nn.Cell]] = {
    spec.Conv2d: conv2d,
    spec.Linear: linear,
    spec.BatchNorm2d: batch_norm2d,
    spec.ReLU: relu,
    spec.MaxPool2d: max_pool2d,
    spec.AvgPool2d: avg_pool2d,
    spec.AdaptiveAvgPool2d: adaptive_avg_pool2d,
    spec.Flatten: flatten,
    spec.Dropout: dropout,
    spec.LogSoftmax: log_softmax,
    spec.Rows: rows,
    spec.LSTM: lstm,
    spec.Last: last,
    spec.Residual: residual,
}


def lower(node: Node) -> nn.Cell:
    """The cell for one layer in its place."""
    kind = type(node.layer)
    if kind not in TABLE:
        raise UnsupportedError(f"backend mindspore has no lowering for layer {node.path} ({kind.__name__})")
    return TABLE[kind](node, node.layer)


class Chain(nn.Cell):
    """Layers one after the other, each registered under its canonical name, and so are the parameters.

    `bn1.gamma` is a parameter called `bn1.weight`.
    """

    def __init__(self, model: ModelSpec) -> None:
        super().__init__()
        self._chain = attach_all(self, model.nodes, prefix="")
        self._unstack = P.Unstack(0, 1 + len(model.dropouts))
        cells = dict(self.cells_and_names())
        for node in model.walk():
            for name, parameter in cells[node.path].parameters_dict(recurse=False).items():
                parameter.name = f"{node.path}.{_CANONICAL.get(name, name)}"

    def construct(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Outputs [B, ...]; `noise` uint32 [1 + dropouts] is what dropout masks come from in training."""
        return run(self._chain, x, None if noise is None else self.parts(noise))

    def parts(self, noise: Tensor) -> tuple[Tensor, ...]:
        """The place of the first row, then a key for each dropout layer."""
        parts: tuple[Tensor, ...] = self._unstack(noise)
        return parts


class Residual(nn.Cell):
    """body(x) + shortcut(x); an empty shortcut is the identity."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        prefix = f"{node.path}."
        self._body = attach_all(self, node.body, prefix)
        self._shortcut = attach_all(self, node.shortcut, prefix)

    def construct(self, x: Tensor, noise: tuple[Tensor, ...] | None = None) -> Tensor:
        """Outputs of the body's shape."""
        return run(self._body, x, noise) + run(self._shortcut, x, noise)


class Flatten(nn.Cell):
    """One vector for each sample."""

    def __init__(self) -> None:
        super().__init__()
        self._flatten = P.Flatten()

    def construct(self, x: Tensor) -> Tensor:
        """[B, ...] to [B, N]."""
        return self._flatten(x)


class MaxPool2d(nn.Cell):
    """A max pool that keeps where each maximum was found."""

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__()
        self._pool = P.MaxPoolWithArgmax(kernel_size, stride, "valid")

    def construct(self, x: Tensor) -> Tensor:
        """Outputs [B, C, H, W]."""
        outputs, _ = self._pool(x)
        return outputs


class BatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d that refuses what has no variance, where MindSpore's own gives NaN."""

    def construct(self, x: Tensor) -> Tensor:
        """Outputs of the shape of x."""
        if self.training and x.size == x.shape[1]:
            raise ValueError(f"batch norm needs more than 1 value per channel in training, got {x.shape}")
        return super().construct(x)


class Dropout(nn.Cell):
    """x * mask / (1 - p), with the mask of `xtrain.spec.dropout`."""

    def __init__(self, p: float, size: int, index: int) -> None:
        super().__init__()
        self.p, self._size, self._index = p, size, index  # among the model's dropout layers
        self._row, self._threshold, self._scale = _word(size), _word(threshold(p)), 1 / (1 - p)
        self._range, self._cast, self._reshape = P.Range(), P.Cast(), P.Reshape()
        self._at_least = P.GreaterEqual()

    def construct(self, x: Tensor, noise: tuple[Tensor, ...] | None = None) -> Tensor:
        """In evaluation mode, or without noise, the identity."""
        if not self.training or noise is None:
            return x
        first = _times(noise[0], self._row)
        elements = self._cast(self._range(0, x.shape[0] * self._size, 1), ms.uint32)
        hashed = mix(_xor(mix(_plus(elements, first)), noise[1 + self._index]))
        kept = self._reshape(self._at_least(_right(hashed, _TOP), self._threshold), x.shape)
        return x * (self._cast(kept, x.dtype) * self._scale)


def mix(x: Tensor) -> Tensor:
    """`xtrain.spec.dropout.mix` on uint32 [N]."""
    x = _xor(x, _right(x, _SHIFT0))
    x = _times(x, _MULTIPLIER0)
    x = _xor(x, _right(x, _SHIFT1))
    x = _times(x, _MULTIPLIER1)
    return _xor(x, _right(x, _SHIFT2))


def _word(value: int) -> Tensor:
    """A uint32 scalar; a plain number would make MindSpore compute in another type."""
    return Tensor(value, ms.uint32)


# Not x ^ y: an operator on tensors is a table of cases, which every graph compiles again.
_plus, _times, _xor, _right = P.Add(), P.Mul(), P.BitwiseXor(), P.RightShift()
_SHIFT0, _SHIFT1, _SHIFT2 = map(_word, SHIFTS)
_MULTIPLIER0, _MULTIPLIER1 = map(_word, MULTIPLIERS)
_TOP = _word(8)  # a threshold has 24 bits


def noise_tensor(noise: Sequence[int]) -> Tensor:
    """`ModelSpec.noise` as uint32 [1 + dropouts]."""
    return Tensor(np.array(noise, dtype=np.uint32))


def attach_all(parent: nn.Cell, nodes: Sequence[Node], prefix: str) -> tuple[tuple[nn.Cell, bool], ...]:
    """Lower layers and register them below `parent`; they come in the order in which they run."""
    return tuple(attach(parent, node, prefix) for node in pools_first(nodes))


def attach(parent: nn.Cell, node: Node, prefix: str) -> tuple[nn.Cell, bool]:
    """Lower a node and register it below `parent`; a dot in its name makes a container.

    Returns it as `run` takes it.
    """
    cell = lower(node)
    *containers, name = node.path.removeprefix(prefix).split(".")
    for container in containers:
        if container not in parent.name_cells():
            _add(parent, container, nn.Cell())
        parent = parent.name_cells()[container]
    _add(parent, name, cell)
    return drawing(cell)


def drawing(cell: nn.Cell) -> tuple[nn.Cell, bool]:
    """A cell and whether it draws: a graph can't ask for a cell's class."""
    return cell, isinstance(cell, Dropout | Residual)


def _add(parent: nn.Cell, name: str, cell: nn.Cell) -> None:
    if hasattr(parent, name) and name not in parent.name_cells():  # as `construct`
        raise UnsupportedError(
            f"backend mindspore takes no layer called {name!r}: its cells have a member of that name"
        )
    parent.insert_child_to_cell(name, cell)


def run(layers: Sequence[tuple[nn.Cell, bool]], x: Tensor, noise: tuple[Tensor, ...] | None) -> Tensor:
    """Pass x through the layers; those that draw get the noise as well."""
    for layer, draws in layers:
        x = layer(x, noise) if draws else layer(x)
    return x
