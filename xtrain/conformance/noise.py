"""What rounding does: states moved in the last place of float32, and how far two tensors lie apart."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xtrain import plan
from xtrain.spec import State

EPSILON = float(np.finfo(np.float32).eps)
TINY = float(np.finfo(np.float32).tiny)


def nudged(state: State, seed: int, units: float = 1.0) -> State:
    """Every float moved, up or down, by at most `units` in the last place of float32."""
    return {name: _nudge(value, name, seed, units) for name, value in state.items()}


def _nudge(value: NDArray[Any], name: str, seed: int, units: float) -> NDArray[Any]:
    if not units or not np.issubdtype(value.dtype, np.floating):
        return value
    random = plan.words(seed, f"nudge/{name}", value.size).astype(np.float64).reshape(value.shape)
    moved: NDArray[Any] = value * (1 + units * EPSILON * (random / 2**63 - 1))
    return moved


def distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The largest difference: a single wrong element can't hide in a mean. NaN where one has a NaN."""
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0))


def least(value: NDArray[Any]) -> float:
    """One rounding of the largest value: no floor is lower."""
    return max(EPSILON * float(np.abs(value).max(initial=0.0)), TINY)
