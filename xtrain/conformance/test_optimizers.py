"""Every optimizer over fed gradients; its state; and the step that the loop makes of it."""

import numpy as np
import pytest

from xtrain.conformance.cases import CONVOLUTIONAL, MLP, OPTIMIZERS, split, step_input
from xtrain.conformance.compare import against_noise, assert_same
from xtrain.conformance.computed import MOVED, SUFFIX, biases_at_zero, fed_gradients, start, ten_steps
from xtrain.conformance.parts import batch, build, float32, thorough
from xtrain.protocols import Backend
from xtrain.spec import ModelSpec, OptimizerSpec, State, StepInput

every_optimizer = pytest.mark.parametrize("spec", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ten_steps_on_fed_gradients(name: str, backend: Backend, reference: Backend) -> None:
    def buffers_and_weights(under: Backend, seed: int = 0) -> State:
        state = dict(ten_steps(under, name, seed))
        assert int(state.pop("step")) == 10
        return state

    against_noise(lambda seed: buffers_and_weights(reference, seed), buffers_and_weights(backend))


@pytest.mark.parametrize("name", MOVED)
def test_a_momentum_that_moves(name: str, backend: Backend, reference: Backend) -> None:
    """As the one-cycle schedule moves it."""
    name = f"{name}{SUFFIX}"
    against_noise(lambda seed: ten_steps(reference, name, seed), ten_steps(backend, name, 0))


@every_optimizer
def test_names_and_zeros_before_the_first_step(spec: OptimizerSpec, backend: Backend) -> None:
    state = build(backend, MLP, spec).optimizer.state()
    assert set(state) == {"step"} | {f"{name}/{b}" for name in MLP.trainable for b in spec.buffers}
    for name, value in state.items():
        assert not value.any(), name
        assert value.shape == (() if name == "step" else MLP.tensors[name.split("/")[0]].shape)


@every_optimizer
@pytest.mark.parametrize("made", [1, *thorough(0, 4)], ids=lambda made: f"after_{made}")
def test_state_goes_on_elsewhere(spec: OptimizerSpec, made: int, backend: Backend) -> None:
    """Loaded into fresh parts, and into parts that have already stepped, it goes on to the same bits."""
    left_alone = build(backend, MLP, spec, biases_at_zero())
    for number in range(1, made + 1):
        left_alone.optimizer.step(fed_gradients(number), StepInput(number, spec.lr))
    model, optimizer = left_alone.model.state(), left_alone.optimizer.state()
    fresh, used = build(backend, MLP, spec, model), build(backend, MLP, spec)
    used.optimizer.step(fed_gradients(99), StepInput(1, spec.lr))
    used.model.load(model)
    for parts in (fresh, used):
        parts.optimizer.load(optimizer)
        assert_same(parts.optimizer.state(), optimizer)
    for number in range(made + 1, made + 4):
        for parts in (left_alone, fresh, used):
            parts.optimizer.step(fed_gradients(number), StepInput(number, spec.lr))
    for parts in (fresh, used):
        assert_same(parts.model.state(), left_alone.model.state())
        assert_same(parts.optimizer.state(), left_alone.optimizer.state())


@pytest.mark.thorough
@every_optimizer
def test_the_reference_state_is_taken_over(spec: OptimizerSpec, backend: Backend, reference: Backend) -> None:
    def handed_over(under: Backend, seed: int = 0) -> State:
        first = build(reference, MLP, spec, biases_at_zero())
        for number in range(1, 4):
            first.optimizer.step(fed_gradients(number), StepInput(number, spec.lr))
        parts = build(under, MLP, spec, float32(first.model.state()))
        parts.optimizer.load(float32(first.optimizer.state()))
        for number in range(4, 7):
            parts.optimizer.step(fed_gradients(number, seed), StepInput(number, spec.lr))
        return parts.model.state()

    against_noise(lambda seed: handed_over(reference, seed), handed_over(backend))


@every_optimizer
@pytest.mark.parametrize("model", [MLP, *thorough(CONVOLUTIONAL)], ids=lambda model: model.name)
def test_a_train_step_is_gradients_and_update(
    spec: OptimizerSpec, model: ModelSpec, backend: Backend, reference: Backend
) -> None:
    """In one unit, or as gradients fed to the optimizer: both do what the reference does."""
    data = split(model)

    def train(under: Backend, at_once: bool, seed: int = 0) -> State:
        parts = build(under, model, spec, start(model, seed))
        for number in (1, 2):
            step, samples = step_input(model, number, spec.lr), batch(under, data)
            if at_once:
                parts.loop.train_step([samples], step)
            else:
                parts.optimizer.step(parts.loop.gradients(samples, step), step)
        return parts.model.state()

    for at_once in (True, False):
        against_noise(lambda seed: train(reference, True, seed), train(backend, at_once))


@every_optimizer
def test_loading_a_model_keeps_the_optimizer_in_place(spec: OptimizerSpec, backend: Backend) -> None:
    """After a load the loop trains the loaded weights, not the ones it was bound to."""
    data, step = split(MLP), step_input(MLP)
    parts = build(backend, MLP, spec)
    parts.loop.train_step([batch(backend, data)], step)
    zeros = {name: np.zeros_like(value) for name, value in parts.model.state().items()}
    parts.model.load(zeros)
    parts.optimizer.load(build(backend, MLP, spec).optimizer.state())
    parts.loop.train_step([batch(backend, data)], step)
    fresh = build(backend, MLP, spec, zeros)
    fresh.loop.train_step([batch(backend, data)], step)
    assert_same(parts.model.state(), fresh.model.state())
    assert parts.model.state()["fc2.bias"].any()
