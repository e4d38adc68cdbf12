"""The loop: figures of a step, evaluation that changes nothing, several batches, whole trajectories."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from xtrain import plan
from xtrain.conformance.cases import CLASSES, CONVOLUTIONAL, MLP, split, step_input
from xtrain.conformance.compare import MULTIPLE, against_noise, assert_same
from xtrain.conformance.computed import start
from xtrain.conformance.noise import EPSILON, nudged
from xtrain.conformance.parts import batch, build, mean_losses, thorough
from xtrain.protocols import Backend
from xtrain.spec import SGD, Adam, Flatten, Linear, ModelSpec, OptimizerSpec, Split, State

both_optimizers = pytest.mark.parametrize(
    "optimizer", [SGD(lr=0.1, momentum=0.9), *thorough(Adam(lr=0.01))], ids=["sgd_momentum", "adam"]
)
both_models = pytest.mark.parametrize("model", [MLP, CONVOLUTIONAL], ids=lambda model: model.name)


@both_models
def test_figures_of_a_step(model: ModelSpec, backend: Backend, reference: Backend) -> None:
    data, step = split(model), step_input(model, sizes=(7,))
    ours, theirs = (build(under, model).loop for under in (backend, reference))
    handles = [ours.eval_step(batch(backend, data)), ours.train_step([batch(backend, data, 7)], step)]
    expected = [
        theirs.eval_step(batch(reference, data)),
        theirs.train_step([batch(reference, data, 7)], step),
    ]
    for found, wanted in zip(ours.read(handles), theirs.read(expected), strict=True):
        assert found.correct == wanted.correct
        assert found.loss_sum == pytest.approx(wanted.loss_sum, rel=64 * EPSILON)
    assert ours.read([]) == []


def test_large_logits(backend: Backend, reference: Backend) -> None:
    """Losses of some hundreds are not capped, and neither overflow nor lose their gradient."""
    model = ModelSpec("logits", (1, 3, 4), (Flatten(), Linear(out_features=CLASSES)))
    data, state = split(model), plan.initial_state(0, model)
    state["fc1.weight"] *= np.float32(300)
    ours, theirs = (build(under, model, state=state).loop for under in (backend, reference))
    (found,) = ours.read([ours.eval_step(batch(backend, data))])
    (wanted,) = theirs.read([theirs.eval_step(batch(reference, data))])
    assert wanted.loss_sum / len(data.labels) > 100
    assert found.loss_sum == pytest.approx(wanted.loss_sum, rel=64 * EPSILON)

    def compute(seed: int) -> State:
        moved = nudged(state, seed) if seed else state
        return build(reference, model, state=moved).loop.gradients(batch(reference, data), step_input(model))

    against_noise(compute, ours.gradients(batch(backend, data), step_input(model)))


@both_optimizers
@both_models
def test_evaluation_changes_nothing(model: ModelSpec, optimizer: OptimizerSpec, backend: Backend) -> None:
    data = split(model)
    parts = build(backend, model, optimizer)
    parts.loop.train_step([batch(backend, data)], step_input(model))
    before = parts.model.state(), parts.optimizer.state()
    images = backend.dataset(data).read(batch(backend, data))[0]
    figures = [parts.loop.read([parts.loop.eval_step(batch(backend, data))]) for _ in range(2)]
    assert figures[0] == figures[1]
    parts.model.predict(images)
    parts.model.trace(images, None)
    assert_same(parts.model.state(), before[0])
    assert_same(parts.optimizer.state(), before[1])


@both_models
def test_gradients_change_no_parameter(model: ModelSpec, backend: Backend) -> None:
    data = split(model)
    parts = build(backend, model)
    before = parts.model.state()
    first = parts.loop.gradients(batch(backend, data), step_input(model))
    after = parts.model.state()
    assert_same({n: after[n] for n in model.trainable}, {n: before[n] for n in model.trainable})
    assert_same(parts.loop.gradients(batch(backend, data), step_input(model)), first)


def test_several_batches_are_one_update(backend: Backend, reference: Backend) -> None:
    """Uneven ones, with dropout: masks follow the place in the whole, means the number of samples."""
    data = split(MLP)

    def update(under: Backend, parts_of: tuple[int, ...], seed: int = 0) -> State:
        parts = build(under, MLP, state=start(MLP, seed))
        firsts = np.cumsum((0, *parts_of))
        batches = [batch(under, data, n, int(f)) for n, f in zip(parts_of, firsts, strict=False)]
        parts.loop.train_step(batches, step_input(MLP, sizes=parts_of))
        return parts.model.state()

    against_noise(lambda seed: update(reference, (23,), seed), update(backend, (9, 9, 5)))


@both_optimizers
@both_models
def test_ten_steps_stay_on_the_reference_curve(
    model: ModelSpec, optimizer: OptimizerSpec, backend: Backend, reference: Backend
) -> None:
    def losses(under: Backend, seed: int = 0) -> NDArray[np.float64]:
        parts = build(under, model, optimizer, start(model, seed))
        return mean_losses(parts, under, model, steps=10)

    wanted = losses(reference)
    floor = np.max([np.abs(losses(reference, seed) - wanted) for seed in range(1, 6)], axis=0)
    # Noise grows along the way: each step is held to the largest floor so far.
    floor = np.maximum(np.maximum.accumulate(floor), EPSILON * wanted)
    errors = np.abs(losses(backend) - wanted)
    assert (errors <= MULTIPLE * floor).all(), f"{errors / floor} times the noise floor"


@both_optimizers
@both_models
def test_the_same_bits_every_time(model: ModelSpec, optimizer: OptimizerSpec, backend: Backend) -> None:
    data = split(model)

    def train() -> State:
        parts = build(backend, model, optimizer)
        for number in range(1, 6):
            parts.loop.train_step([batch(backend, data, 9, 5)], step_input(model, number))
        return parts.model.state() | parts.optimizer.state()

    assert_same(train(), train())


@both_optimizers
@both_models
def test_resume_is_bit_identical(model: ModelSpec, optimizer: OptimizerSpec, backend: Backend) -> None:
    data = split(model)
    left_alone = build(backend, model, optimizer)
    for number in range(1, 4):
        left_alone.loop.train_step([batch(backend, data, 9)], step_input(model, number))
    resumed = build(backend, model, optimizer, left_alone.model.state())
    resumed.optimizer.load(left_alone.optimizer.state())
    for number in range(4, 7):
        for parts in (left_alone, resumed):
            parts.loop.train_step([batch(backend, data, 5, 9)], step_input(model, number))
    assert_same(resumed.model.state(), left_alone.model.state())
    assert_same(resumed.optimizer.state(), left_alone.optimizer.state())


@both_models
def test_state_round_trip(model: ModelSpec, backend: Backend) -> None:
    state = plan.initial_state(7, model)
    parts = build(backend, model, state=state)
    found = parts.model.state()
    assert list(found) == list(model.tensors)
    for name, value in state.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
        found[name][...] = 0  # a copy: the model keeps its own
    assert parts.model.state()[model.trainable[0]].any()
    state[model.trainable[0]][...] = 0
    assert parts.model.state()[model.trainable[0]].any()


def test_labels_and_tail_batches_of_one(backend: Backend, reference: Backend) -> None:
    data = split(MLP)
    one = Split(data.images[:1], data.labels[:1], data.mean, data.std)
    ours, theirs = build(backend, MLP), build(reference, MLP)
    step = step_input(MLP, sizes=(1,))
    (found,) = ours.loop.read([ours.loop.train_step([batch(backend, one)], step)])
    (wanted,) = theirs.loop.read([theirs.loop.train_step([batch(reference, one)], step)])
    assert found.correct == wanted.correct
    assert found.loss_sum == pytest.approx(wanted.loss_sum, rel=64 * EPSILON)


@pytest.mark.parametrize("keys", [(), (1, 2, 3)], ids=["none", "too_many"])
def test_a_step_without_its_dropout_keys_is_refused(keys: tuple[int, ...], backend: Backend) -> None:
    """Whoever forgets them would train without dropout, and nothing else would show it."""
    parts, data = build(backend, MLP), split(MLP)
    samples, step = batch(backend, data), replace(step_input(MLP), dropout_keys=keys)
    images = backend.dataset(data).read(samples)[0]
    for call in (
        lambda: parts.loop.train_step([samples], step),
        lambda: parts.loop.gradients(samples, step),
        lambda: parts.model.trace(images, step),
    ):
        with pytest.raises(ValueError, match="dropout keys"):
            call()


def test_rows_are_counted_from_the_first_row_that_is_given(backend: Backend, reference: Backend) -> None:
    """A part of a step draws the masks of its own rows, wherever it is computed."""
    data, step = split(MLP), replace(step_input(MLP), first_rows=(14,))
    images = reference.dataset(data).read(batch(reference, data, 9, 14))[0]
    found, wanted = (
        build(under, MLP).model.trace(images, step)["dropout1"] for under in (backend, reference)
    )
    np.testing.assert_array_equal(found == 0, wanted == 0)


def test_the_gradient_is_of_the_share_that_is_given(backend: Backend, reference: Backend) -> None:
    """A backend divides by nothing of its own: the plan knows the whole step, which may be larger."""
    data, step = split(MLP), replace(step_input(MLP), share=1 / 100)

    def gradients(under: Backend, seed: int = 0) -> State:
        parts = build(under, MLP, state=start(MLP, seed))
        return parts.loop.gradients(batch(under, data), step)

    against_noise(lambda seed: gradients(reference, seed), gradients(backend))
