"""Lowerings over sequences. B batch, T steps, F features of a step."""

from mindspore import Tensor, nn
from mindspore.ops import operations as P

from xtrain.spec import Node
from xtrain.spec import layers as spec


def rows(node: Node, layer: spec.Rows) -> nn.Cell:
    """[B, C, H, W] to [B, H, C*W]."""
    return Rows()


def lstm(node: Node, layer: spec.LSTM) -> nn.Cell:
    """nn.LSTM, one fused kernel for each layer."""
    return LSTM(node.input_shape[1], layer.hidden_size, layer.num_layers, batch_first=True)


def last(node: Node, layer: spec.Last) -> nn.Cell:
    """[B, T, F] to [B, F]."""
    return Last()


class Rows(nn.Cell):
    """An image as a sequence of its rows."""

    def __init__(self) -> None:
        super().__init__()
        self._transpose, self._reshape = P.Transpose(), P.Reshape()

    def construct(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, H, C*W]."""
        batch, channels, height, width = x.shape
        return self._reshape(self._transpose(x, (0, 2, 1, 3)), (batch, height, channels * width))


class LSTM(nn.LSTM):
    """nn.LSTM without its last state."""

    def construct(self, x: Tensor) -> Tensor:
        """[B, T, F] to [B, T, hidden]."""
        return super().construct(x)[0]


class Last(nn.Cell):
    """The last step of a sequence."""

    def construct(self, x: Tensor) -> Tensor:
        """[B, T, F] to [B, F]."""
        return x[:, -1]
