"""The modules that the lowering table makes besides torch's own, and the network that holds them all."""

import itertools
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from xtrain.spec import ModelSpec, Node, Tree
from xtrain.spec.dropout import MULTIPLIERS, SHIFTS, threshold
from xtrain_torch.layers import lower

_TREE = Tree[nn.Module](
    "torch", nn.Module, lambda module: dict(module.named_children()), nn.Module.add_module
)


class Network(nn.Module):
    """Layers one after the other, each registered under its canonical name."""

    layout = torch.contiguous_format  # of images, in memory
    narrow: torch.dtype | None = None  # what products are computed in, where it is not float32

    def __init__(self, model: ModelSpec) -> None:
        super().__init__()
        self._chain = attach_all(self, model.nodes)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Outputs [B, ...]; `noise` int32 [1 + dropouts] is what dropout masks come from in training."""
        with autocast(x, self.narrow):
            outputs = run(self._chain, x.contiguous(memory_format=self.layout), noise)
        return outputs if self.narrow is None else outputs.to(torch.float32)

    def channels_last(self) -> None:
        """Keep images and kernels in memory as [H, W, C], where a CPU's convolutions are quicker."""
        self.layout = torch.channels_last
        self.to(memory_format=torch.channels_last)


class Residual(nn.Module):
    """body(x) + shortcut(x); an empty shortcut is the identity."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._body = attach_all(self, node.body, f"{node.path}.")
        self._shortcut = attach_all(self, node.shortcut, f"{node.path}.")

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Outputs of the body's shape."""
        return run(self._body, x, noise) + run(self._shortcut, x, noise)


class Function(nn.Module):
    """A layer without tensors of its own, as a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, x: Tensor) -> Tensor:
        """What the function makes of x."""
        return self._function(x)


class LSTM(nn.LSTM):
    """nn.LSTM without its last state."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # no state is fed
        """[B, T, F] to [B, T, hidden]."""
        outputs: Tensor = super().forward(x)[0]
        return outputs


class Dropout(nn.Module):
    """x * mask / (1 - p), with the mask of `xtrain.spec.dropout`; `index` is the layer's key in the noise."""

    def __init__(self, p: float, index: int) -> None:
        super().__init__()
        self.p, self.index = p, index

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """In evaluation mode, or without noise, the identity."""
        if not self.training or noise is None:
            return x
        first = noise[0] * math.prod(x.shape[1:])
        elements = torch.arange(x.numel(), dtype=torch.int32, device=x.device) + first
        hashed = mix(mix(elements) ^ noise[1 + self.index])
        kept = _shift(hashed, 8) >= threshold(self.p)
        return x * (kept.view(x.shape).to(x.dtype) * (1 / (1 - self.p)))


def mix(x: Tensor) -> Tensor:
    """`xtrain.spec.dropout.mix` on int32, whose products wrap around as unsigned ones do."""
    x = x ^ _shift(x, SHIFTS[0])
    x = x * signed(MULTIPLIERS[0])
    x = x ^ _shift(x, SHIFTS[1])
    x = x * signed(MULTIPLIERS[1])
    return x ^ _shift(x, SHIFTS[2])


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical shift right: int32's own drags the sign along."""
    return (x >> bits) & ((1 << (32 - bits)) - 1)


def signed(word: int) -> int:
    """The int32 with the same bits as an unsigned word."""
    return word - (1 << 32) if word >= 1 << 31 else word


def autocast(x: Tensor, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Where products are computed in `dtype`, if there is one, on the device of x."""
    return nullcontext() if dtype is None else torch.autocast(x.device.type, dtype)


_UNNEEDED = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d, Residual)
"""Layers that give a tensor of their own and do not need it for their gradient."""


def attach_all(parent: nn.Module, nodes: Sequence[Node], prefix: str = "") -> list[nn.Module]:
    """`Tree.attach_all`, where a ReLU writes into what is before it if that is not needed again."""
    chain = _TREE.attach_all(parent, lower, nodes, prefix)
    for before, module in itertools.pairwise(chain):
        if isinstance(module, nn.ReLU) and isinstance(before, _UNNEEDED):
            module.inplace = True
    return chain


def run(layers: Sequence[nn.Module], x: Tensor, noise: Tensor | None) -> Tensor:
    """Pass x through the layers; those that draw get the noise as well."""
    for layer in layers:
        x = layer(x, noise) if isinstance(layer, Dropout | Residual) else layer(x)
    return x
