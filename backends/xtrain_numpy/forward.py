"""What a lowered layer is.

It takes the model's tensors, an input and the noise of a training step (None in evaluation) and returns its
output with a function that takes the output's gradient back to the input's, adding the gradients of the
layer's own tensors to a given state.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from xtrain.spec import State

Array = NDArray[Any]
Backward = Callable[[Array, State], Array]


@dataclass(frozen=True)
class Noise:
    """What the dropout masks of a training step come from: a key by path, and the place of row 0."""

    keys: Mapping[str, int] = field(default_factory=dict)
    first_row: int = 0


Forward = Callable[[State, Array, Noise | None], tuple[Array, Backward]]
