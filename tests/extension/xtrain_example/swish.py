"""A layer: x * sigmoid(beta * x) (P. Ramachandran, B. Zoph, Q. V. Le, 2017)."""

from collections.abc import Sequence
from typing import Literal

from xtrain.extend import Layer, Positive, frozen


@frozen
class Swish(Layer):
    """Keeps the shape, and has no parameters."""

    op: Literal["swish"] = "swish"
    beta: Positive = 1.0

    @classmethod
    def examples(cls) -> Sequence[tuple[Layer, ...]]:
        """What the conformance suite tries."""
        return [(cls(),), (cls(beta=2.5), cls())]
