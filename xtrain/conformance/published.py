"""Values that another implementation gave: PyTorch's own layers, losses and optimizers in float64.

`published.json` has them, so that the NumPy reference is compared with something that is not itself.
`tests/backends/torch_values.py` makes the file. Of a large tensor it has eight weighted sums, in which every
element counts with a weight of its own: they notice one wrong element, and the file stays small.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xtrain import plan
from xtrain.conformance.compare import MULTIPLE
from xtrain.conformance.noise import EPSILON, distance, least
from xtrain.spec import Array, State

FILE = Path(__file__).with_name("published.json")
DIGITS = 12
"""Significant digits of each number in the file."""
SUMS = 8

# A float64 backend may be off by this share of a tensor's largest value. The digits of the file alone make up
# to 5e-12, and the NumPy reference is off by no more over all cases. A wrong formula is off by 1e-6 and more.
SHARE_IN_FLOAT64 = 1e-9


def summary(name: str, value: Array) -> NDArray[np.float64]:
    """A small tensor as it is, flat; of a larger one weighted sums, each over every eighth element."""
    flat = value.astype(np.float64).ravel()
    return flat if flat.size <= SUMS else _sums(_weights(name, flat.size) * flat)


def growth(name: str, size: int) -> float:
    """How much further off a summary may be than each element is: the largest sum of absolute weights.

    A framework's rounding errors can all point one way, as those of an approximate exponential do. Then they
    add up, where the reference's nudges cancel each other.
    """
    return 1.0 if size <= SUMS else float(_sums(np.abs(_weights(name, size))).max())


def _weights(name: str, size: int) -> NDArray[np.float64]:
    """From -1 to 1."""
    return plan.words(0, f"published/{name}", size).astype(np.float64) / 2**63 - 1


def _sums(flat: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([flat[first::SUMS].sum() for first in range(SUMS)])


@cache
def published(case: str) -> State:
    """Summaries of a case, such as `layers/conv3`, as PyTorch gave them."""
    cases = json.loads(FILE.read_text(encoding="ascii"))
    assert case in cases, f"{case} is not in {FILE.name}: tests/backends/torch_values.py makes it anew"
    return {name: np.array(values) for name, values in cases[case].items()}


def assert_published(case: str, actual: State, reference: list[State]) -> None:
    """Each tensor's summary is PyTorch's, up to rounding.

    Args:
        case: as the file names it.
        actual: what the backend gave.
        reference: of a float32 backend, what the reference gives: first as it is, then with its inputs
            nudged. How far these lie apart is the noise floor. A float64 backend is held to the file alone,
            because the reference may be what is wrong.

    """
    expected, (right, *nudged) = published(case), reference or [{}]
    assert actual.keys() == expected.keys(), f"{case} has {sorted(actual)}, not {sorted(expected)}"
    for name, value in expected.items():
        found = summary(name, actual[name])
        assert found.shape == value.shape, f"{name}: not of the size that it has under PyTorch"
        bound = SHARE_IN_FLOAT64 * least(value) / EPSILON
        if reference:
            floor = max(*(distance(other[name], right[name]) for other in nudged), least(right[name]))
            bound = MULTIPLE * floor * growth(name, right[name].size)
        error = distance(found, value)
        assert error <= bound, f"{name}: {error:.3g} off PyTorch's value, where {bound:.3g} is rounding"
