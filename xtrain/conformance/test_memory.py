"""What a backend is handed stays the caller's, and what it hands out is a copy.

A framework may take over an array without a copy where the array suits it. JAX does so on the CPU with
memory that begins at a multiple of 64 bytes, which arrays of NumPy's own making do only by chance.
"""

import numpy as np
import pytest

from xtrain.conformance.cases import MLP, OPTIMIZERS, split, step_input
from xtrain.conformance.compare import assert_same
from xtrain.conformance.computed import fed_gradients
from xtrain.conformance.parts import Parts, batch, build
from xtrain.protocols import Backend, Model, Optimizer
from xtrain.spec import Array, State, StepInput

ALIGNMENT = 64


def aligned(array: Array) -> Array:
    """A copy that begins at a multiple of 64 bytes."""
    room = np.empty(array.nbytes + ALIGNMENT, dtype=np.uint8)
    skipped = -room.ctypes.data % ALIGNMENT
    copy = room[skipped : skipped + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def overwrite(state: State) -> None:
    """Change every element of every array."""
    for value in state.values():
        value[...] = value + 1


def copied(state: State) -> State:
    return {name: value.copy() for name, value in state.items()}


def suited(state: State) -> State:
    """A state in aligned memory, each array of the type that the backend itself gave it."""
    return {name: aligned(value) for name, value in state.items()}


@pytest.fixture
def parts(backend: Backend) -> Parts:
    """After a step with momentum, so that its buffers hold something."""
    parts = build(backend, MLP, OPTIMIZERS["sgd_momentum"])
    parts.optimizer.step(fed_gradients(1), StepInput(1, 0.01))
    return parts


def test_the_weights_that_were_loaded_are_copied(parts: Parts) -> None:
    """The caller's memory changes after the load, and the model's weights do not."""
    assert_copied_by_load(parts.model)


def test_the_optimizer_state_that_was_loaded_is_copied(parts: Parts) -> None:
    assert_copied_by_load(parts.optimizer)


def assert_copied_by_load(part: Model | Optimizer) -> None:
    before = part.state()
    given = suited(before)
    part.load(given)
    overwrite(given)
    assert_same(part.state(), before)


def test_training_writes_into_nothing_of_the_callers(parts: Parts, backend: Backend) -> None:
    """An update in place reaches neither what was loaded nor what was handed out."""
    loaded = suited(parts.model.state()), suited(parts.optimizer.state())
    parts.model.load(loaded[0])
    parts.optimizer.load(loaded[1])
    handed_out = parts.model.state(), parts.optimizer.state()
    wanted = [copied(state) for state in handed_out]
    parts.loop.train_step([batch(backend, split(MLP))], step_input(MLP))
    for found, right in zip((*loaded, *handed_out), (*wanted, *wanted), strict=True):
        assert_same(found, right)


def test_what_is_handed_out_is_a_copy(parts: Parts) -> None:
    """Whoever writes into it changes neither the model nor the optimizer."""
    wanted = copied(parts.model.state()), copied(parts.optimizer.state())
    for state in (parts.model.state(), parts.optimizer.state()):
        writable = {name: value for name, value in state.items() if value.flags.writeable}
        overwrite(writable)
    assert_same(parts.model.state(), wanted[0])
    assert_same(parts.optimizer.state(), wanted[1])
