"""What the levels below the trajectory are measured on: a state, a batch and gradients, all from the plan."""

import math

import numpy as np
from numpy.typing import NDArray

from xtrain import plan
from xtrain.conformance.noise import nudged
from xtrain.parity.trace import UNITS
from xtrain.spec import ModelSpec, Shape, State

SAMPLES = 16
UPDATES = (1, 2, 10, 100)
"""Steps on fed gradients after which weights and moments are recorded."""
MOST = 2**20
"""Of a larger tensor evenly spread elements are recorded."""


def state(seed: int, initial: State) -> State:
    """The initial weights, with biases and running statistics moved away from 0 and 1.

    Where a mean is 0, a variance 1 and a bias 0, mistakes about them can't be seen.
    """
    found = dict(initial)
    for name, value in initial.items():
        if value.std() == 0:
            found[name] = value + 0.1 * _normal(seed, name, value.size).reshape(value.shape)
        if name.endswith("running_var"):
            found[name] = np.abs(found[name])
    return {name: value.astype(np.float32) for name, value in found.items()}


class Stream:
    """Numbers drawn once and read from another place for each step and tensor: cheap, and always the same."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self._size, self._twice = values.size, np.concatenate([values, values])

    def at(self, step: int, place: int, shape: Shape) -> NDArray[np.float64]:
        """For the tensor at `place` of its state, of at most as many elements as were drawn."""
        start = (7919 * step + 104729 * place) % self._size
        return self._twice[start : start + math.prod(shape)].reshape(shape)


class Gradients:
    """Gradients that are fed to an optimizer, another one at each step.

    An element's size stays the same from step to step, and is between 1 and 1e-8: only beside tiny gradients
    can an epsilon be seen.

    Args:
        seed: of the recipe.
        model: whose parameters have gradients.
        draw: of `UNITS`, by which the gradients are nudged.

    """

    def __init__(self, seed: int, model: ModelSpec, draw: int) -> None:
        self._shapes = {name: model.tensors[name].shape for name in model.trainable}
        largest = max(map(math.prod, self._shapes.values()))
        values = {"gradients": _normal(seed, "gradients", largest)}
        self._values = Stream(nudged(values, draw, UNITS[draw])["gradients"])
        self._sizes = 10.0 ** -(np.arange(largest) % 9)

    def at(self, step: int) -> State:
        """Gradients of a step (counted from 1), float32."""
        found: State = {}
        for place, (name, shape) in enumerate(self._shapes.items()):
            size = self._sizes[: math.prod(shape)].reshape(shape)
            found[name] = (self._values.at(step, place, shape) * size).astype(np.float32)
        return found


class Rounding:
    """What a step's rounding could have done: every value moved by up to `UNITS[draw]` in its last place.

    A nudge before the first step knows one rounding; a hundred steps make a hundred.
    """

    def __init__(self, seed: int, model: ModelSpec, draw: int) -> None:
        largest = max(math.prod(tensor.shape) for tensor in model.tensors.values())
        ones = {"rounding": np.ones(largest)}
        self._units = UNITS[draw]
        self._factors = Stream(nudged(ones, seed + draw, UNITS[draw])["rounding"])

    def of(self, state: State, step: int) -> State:
        """The state, float32, as it might have come out of `step`; whole numbers stay."""
        if not self._units:
            return state
        return {
            name: (value * self._factors.at(step, place, value.shape)).astype(np.float32)
            if np.issubdtype(value.dtype, np.floating)
            else value
            for place, (name, value) in enumerate(state.items())
        }


def thinned(state: State) -> State:
    """Contiguous tensors of at most `MOST` elements, evenly spread over what they were."""
    return {name: np.asarray(_thin(value), order="C") for name, value in state.items()}


def _normal(seed: int, name: str, size: int) -> NDArray[np.float64]:
    return plan.normal(plan.words(seed, f"parity/{name}", 2 * size))


def _thin(value: NDArray[np.generic]) -> NDArray[np.generic]:
    return value if value.size <= MOST else value.reshape(-1)[:: -(-value.size // MOST)]
