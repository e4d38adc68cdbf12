"""The cells that the lowering table makes besides MindSpore's own, and the network that holds them all.

An operator on tensors, as x ^ y, is a table of cases which every graph compiles again; a primitive is not.
"""

from collections.abc import Callable, Iterable, Sequence

import mindspore as ms
from mindspore import Tensor, nn
from mindspore.ops import operations as P

from xtrain.spec import ModelSpec, Node, Tree
from xtrain.spec.dropout import MULTIPLIERS, SHIFTS, threshold
from xtrain_mindspore.layers import lower

_CANONICAL = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}
_transpose, _reshape, _cast = P.Transpose(), P.Reshape(), P.Cast()
_plus, _times, _xor, _right = P.Add(), P.Mul(), P.BitwiseXor(), P.RightShift()
_range, _at_least = P.Range(), P.GreaterEqual()

_TREE = Tree[nn.Cell]("mindspore", nn.Cell, nn.Cell.name_cells, nn.Cell.insert_child_to_cell)


class Network(nn.Cell):
    """Layers one after the other, each registered under its canonical name, and so are the parameters.

    `bn1.gamma` is a parameter called `bn1.weight`.
    """

    def __init__(self, model: ModelSpec) -> None:
        super().__init__()
        self._chain = chain(_TREE.attach_all(self, lower, model.nodes))
        self._unstack = P.Unstack(0, 1 + len(model.dropouts))
        cells = dict(self.cells_and_names())
        for node in model.walk():
            for name, parameter in cells[node.path].parameters_dict(recurse=False).items():
                parameter.name = f"{node.path}.{_CANONICAL.get(name, name)}"

    def construct(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Outputs [B, ...]; `noise` uint32 [1 + dropouts] is what dropout masks come from in training."""
        return run(self._chain, x, None if noise is None else self._unstack(noise))


class Residual(nn.Cell):
    """body(x) + shortcut(x); an empty shortcut is the identity."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._body = chain(_TREE.attach_all(self, lower, node.body, f"{node.path}."))
        self._shortcut = chain(_TREE.attach_all(self, lower, node.shortcut, f"{node.path}."))

    def construct(self, x: Tensor, noise: tuple[Tensor, ...] | None = None) -> Tensor:
        """Outputs of the body's shape."""
        return run(self._body, x, noise) + run(self._shortcut, x, noise)


class Function(nn.Cell):
    """A layer without tensors of its own, as a function or a primitive."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._function = function

    def construct(self, x: Tensor) -> Tensor:
        """What the function makes of x."""
        return self._function(x)


def rows(x: Tensor) -> Tensor:
    """[B, C, H, W] to [B, H, C*W]."""
    batch, channels, height, width = x.shape
    return _reshape(_transpose(x, (0, 2, 1, 3)), (batch, height, channels * width))


def last(x: Tensor) -> Tensor:
    """[B, T, F] to [B, F]."""
    return x[:, -1]


class LSTM(nn.LSTM):
    """nn.LSTM without its last state."""

    def construct(self, x: Tensor) -> Tensor:
        """[B, T, F] to [B, T, hidden]."""
        return super().construct(x)[0]


class MaxPool2d(nn.Cell):
    """A max pool that keeps where each maximum was found."""

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__()
        self._pool = P.MaxPoolWithArgmax(kernel_size, stride, "valid")

    def construct(self, x: Tensor) -> Tensor:
        """Outputs [B, C, H, W]."""
        return self._pool(x)[0]


class BatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d that refuses what has no variance, where MindSpore's own gives NaN."""

    def construct(self, x: Tensor) -> Tensor:
        """Outputs of the shape of x."""
        if self.training and x.size == x.shape[1]:
            raise ValueError(f"batch norm needs more than 1 value per channel in training, got {x.shape}")
        return super().construct(x)


class Dropout(nn.Cell):
    """x * mask / (1 - p), with the mask of `xtrain.spec.dropout`; `index` is the layer's key in the noise.

    `features` is how many elements a sample has.
    """

    def __init__(self, p: float, features: int, index: int) -> None:
        super().__init__()
        self.p, self.index, self._features = p, index, features
        self._row, self._threshold, self._scale = word(features), word(threshold(p)), 1 / (1 - p)

    def construct(self, x: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """In evaluation mode, or without noise, the identity."""
        if not self.training or noise is None:
            return x
        first = _times(noise[0], self._row)
        elements = _plus(_cast(_range(0, x.shape[0] * self._features, 1), ms.uint32), first)
        hashed = mix(_xor(mix(elements), noise[1 + self.index]))
        kept = _reshape(_at_least(_right(hashed, _TOP), self._threshold), x.shape)
        return x * (_cast(kept, x.dtype) * self._scale)


def mix(x: Tensor) -> Tensor:
    """`xtrain.spec.dropout.mix` on uint32 [N]."""
    x = _xor(x, _right(x, _SHIFT0))
    x = _times(x, _MULTIPLIER0)
    x = _xor(x, _right(x, _SHIFT1))
    x = _times(x, _MULTIPLIER1)
    return _xor(x, _right(x, _SHIFT2))


def word(value: int) -> Tensor:
    """A uint32 scalar; a plain number would make MindSpore compute in another type."""
    return Tensor(value, ms.uint32)


_SHIFT0, _SHIFT1, _SHIFT2 = map(word, SHIFTS)
_MULTIPLIER0, _MULTIPLIER1 = map(word, MULTIPLIERS)
_TOP = word(8)  # a threshold has 24 bits


Chain = tuple[tuple[nn.Cell, bool], ...]
"""Cells in the order they run, and whether each draws: a graph can't ask for a cell's class."""


def chain(cells: Iterable[nn.Cell]) -> Chain:
    """Cells as `run` takes them."""
    return tuple((cell, isinstance(cell, Dropout | Residual)) for cell in cells)


def run(layers: Chain, x: Tensor, noise: Sequence[Tensor] | None) -> Tensor:
    """Pass x through the layers; those that draw get the noise as well."""
    for layer, draws in layers:
        x = layer(x, noise) if draws else layer(x)
    return x
