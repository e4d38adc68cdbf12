"""A layer with a parameter: max(x, 0) + a * min(x, 0), a learned for each channel (K. He et al., 2015)."""

from collections.abc import Mapping
from typing import Literal

from xtrain.extend import Layer, NonNegative, Shape, TensorSpec, frozen


@frozen
class PReLU(Layer):
    """Keeps the shape [C, H, W]; its `weight` is a [C], at first `start` everywhere."""

    op: Literal["prelu"] = "prelu"
    start: NonNegative = 0.25

    def tensors(self, shape: Shape) -> Mapping[str, TensorSpec]:
        """One number for each channel."""
        return {"weight": TensorSpec((shape[0],), fill=self.start)}
