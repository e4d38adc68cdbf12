"""How far two results may lie apart: a multiple of what rounding does to the reference itself."""

from collections.abc import Callable

import numpy as np

from xtrain.conformance.noise import distance, least
from xtrain.spec import State

# Rounding errors of the floor's few draws and of a backend's one are of one distribution. Over the suite's
# 831 tensors their ratio was 0.9 in the median and at most 8.9 (docs/decisions/tolerances.md). A wrong
# formula is off by hundreds and more.
MULTIPLE = 16.0


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
        floor = max(*(distance(other[name], value) for other in perturbed), least(value))
        error = distance(actual[name], value)
        assert error <= MULTIPLE * floor, (
            f"{name}: largest error {error:.3g} is {error / floor:.3g} times the noise floor {floor:.3g}"
        )


def against_noise(compute: Callable[[int], State], actual: State, draws: int = 3) -> None:
    """Compare with `compute(0)`; the floor comes from `compute(1)` and on, each nudged by its seed."""
    assert_close(actual, compute(0), [compute(seed) for seed in range(1, draws + 1)])


def assert_same(actual: State, expected: State) -> None:
    """Equal to the bit."""
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype, name
        np.testing.assert_array_equal(actual[name], value, err_msg=name)
