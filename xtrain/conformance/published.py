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
    if flat.size <= SUMS:
        return flat
    weights = plan.words(0, f"published/{name}", flat.size).astype(np.float64) / 2**63 - 1
    return np.array([(weights * flat)[first::SUMS].sum() for first in range(SUMS)])


def summaries(state: State) -> State:
    """The summary of every tensor, by its name."""
    return {name: summary(name, value) for name, value in state.items()}


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
    found, expected = summaries(actual), published(case)
    right, *others = [summaries(state) for state in reference] or [{}]
    assert found.keys() == expected.keys(), f"{case} has {sorted(found)}, not {sorted(expected)}"
    for name, value in expected.items():
        assert found[name].shape == value.shape, f"{name}: not of the size that it has under PyTorch"
        bound = SHARE_IN_FLOAT64 * least(value) / EPSILON
        if reference:
            moved = max(distance(other[name], right[name]) for other in others)
            bound = MULTIPLE * max(moved, least(value))
        error = distance(found[name], value)
        assert error <= bound, f"{name}: {error:.3g} off PyTorch's value, where {bound:.3g} is rounding"
