"""What a lowered layer is.

It takes the model's tensors, an input and the noise of a training step (None in evaluation) and returns its
output with a function that takes the output's gradient back to the input's, adding the gradients of the
layer's own tensors to a given state.
"""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from xtrain.spec import State

Array = NDArray[Any]
Backward = Callable[[Array, State], Array]


Noise = tuple[int, ...]
"""`ModelSpec.noise`: the place of row 0 in the whole step, then a key for each dropout layer."""

Forward = Callable[[State, Array, Noise | None], tuple[Array, Backward]]
