"""How far two results may lie apart: a multiple of what rounding does to the reference itself."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xtrain import plan
from xtrain.spec import State

EPSILON = float(np.finfo(np.float32).eps)
# Rounding errors of the floor's few draws and of a backend's one are of one distribution. Over the suite's
# 831 tensors their ratio was 0.9 in the median and at most 8.9 (docs/decisions/tolerances.md). A wrong
# formula is off by hundreds and more.
MULTIPLE = 16.0


def nudged(state: State, seed: int) -> State:
    """Every float moved by at most one unit in the last place of float32, up or down."""
    return {name: _nudge(value, name, seed) for name, value in state.items()}


def _nudge(value: NDArray[Any], name: str, seed: int) -> NDArray[Any]:
    if not np.issubdtype(value.dtype, np.floating):
        return value
    random = plan.words(seed, f"nudge/{name}", value.size).astype(np.float64).reshape(value.shape)
    moved: NDArray[Any] = value * (1 + EPSILON * (random / 2**63 - 1))
    return moved


def assert_close(actual: State, expected: State, perturbed: list[State]) -> None:
    """Each tensor's largest error is within a multiple of the noise floor.

    Args:
        actual: what the backend gave.
        expected: what the reference gave.
        perturbed: what the reference gives when its inputs are nudged; the floor is its largest change,
            and at least one rounding of the largest value.

    """
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name].shape == value.shape, f"{name}: {actual[name].shape}, not {value.shape}"
        moved = max(_distance(other[name], value) for other in perturbed)
        floor = max(moved, EPSILON * float(np.abs(value).max(initial=0.0)), float(np.finfo(np.float32).tiny))
        error = _distance(actual[name], value)
        assert error <= MULTIPLE * floor, (
            f"{name}: largest error {error:.3g} is {error / floor:.3g} times the noise floor {floor:.3g}"
        )


def against_noise(compute: Callable[[int], State], actual: State, draws: int = 3) -> None:
    """Compare with `compute(0)`; the floor comes from `compute(1)` and on, each nudged by its seed."""
    assert_close(actual, compute(0), [compute(seed) for seed in range(1, draws + 1)])


def _distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0))


def assert_same(actual: State, expected: State) -> None:
    """Equal to the bit."""
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype, name
        np.testing.assert_array_equal(actual[name], value, err_msg=name)
