"""A recurrent net over an image's rows, as in the MNIST example of yunjey/pytorch-tutorial."""

from typing import Literal

from xtrain.spec import LSTM, Last, Layer, Linear, Rows, Shape
from xtrain.spec.base import Count, Depth, frozen


@frozen
class RowsLSTM:
    """An LSTM that reads the image row by row, then the logits; 214,282 parameters for MNIST."""

    name: Literal["lstm"] = "lstm"
    hidden_size: Count = 128
    num_layers: Depth = 2

    def layers(self, input_shape: Shape, classes: int) -> tuple[Layer, ...]:
        """Rows, LSTM, its last step, logits."""
        return (
            Rows(name="rows"),
            LSTM(name="lstm", hidden_size=self.hidden_size, num_layers=self.num_layers),
            Last(name="last"),
            Linear(name="fc", out_features=classes),
        )
