"""Lowerings over sequences. B batch, T steps, F features of a step."""

from paddle import Tensor, nn

from xtrain.spec import Node
from xtrain.spec import layers as spec


def rows(node: Node, layer: spec.Rows) -> nn.Layer:
    """[B, C, H, W] to [B, H, C*W]."""
    return Rows()


def lstm(node: Node, layer: spec.LSTM) -> nn.Layer:
    """nn.LSTM."""
    return LSTM(node.input_shape[1], layer.hidden_size, layer.num_layers)


def last(node: Node, layer: spec.Last) -> nn.Layer:
    """[B, T, F] to [B, F]."""
    return Last()


class Rows(nn.Layer):
    """An image as a sequence of its rows."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, H, C*W]."""
        return x.transpose([0, 2, 1, 3]).flatten(2)


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


class Last(nn.Layer):
    """The last step of a sequence."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, F] to [B, F]."""
        return x[:, -1]
