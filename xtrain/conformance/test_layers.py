"""Every layer: output, gradients and running statistics, in training and evaluation."""

import numpy as np
import pytest

from xtrain import plan
from xtrain.conformance.cases import (
    CLASSES,
    CONVOLUTIONAL,
    LAYERS,
    MLP,
    Case,
    conv,
    foreign,
    split,
    step_input,
)
from xtrain.conformance.compare import against_noise
from xtrain.conformance.computed import layer_gradients, start
from xtrain.conformance.noise import nudged
from xtrain.conformance.parts import batch, build
from xtrain.data.batches import per_channel
from xtrain.protocols import Backend
from xtrain.spec import Flatten, Linear, MaxPool2d, ModelSpec, ReLU, Split, State

every_layer = pytest.mark.parametrize("case", [*LAYERS, *foreign()], ids=lambda case: case.name)


@every_layer
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_output(case: Case, training: bool, backend: Backend, reference: Backend) -> None:
    images = backend.dataset(data := split(case.model)).read(batch(backend, data))[0]
    step = step_input(case.model) if training else None

    def compute(seed: int) -> State:
        model = build(reference, case.model, state=start(case.model, seed)).model
        return model.trace(images, step)

    against_noise(compute, build(backend, case.model).model.trace(images, step))


@every_layer
def test_gradients(case: Case, backend: Backend, reference: Backend) -> None:
    actual = layer_gradients(backend, case, 0)
    assert set(actual) == set(case.model.trainable)
    against_noise(lambda seed: layer_gradients(reference, case, seed), actual)


@every_layer
def test_state_after_training(case: Case, backend: Backend, reference: Backend) -> None:
    """Three steps with a small last batch: weights, and running statistics where there are any."""
    data = split(case.model)

    def train(under: Backend, seed: int = 0) -> State:
        parts = build(under, case.model, state=start(case.model, seed))
        for number, (first, samples) in enumerate([(0, 9), (9, 9), (18, 5)], start=1):
            parts.loop.train_step([batch(under, data, samples, first)], step_input(case.model, number))
        return parts.model.state()

    against_noise(lambda seed: train(reference, seed), train(backend))


@pytest.mark.parametrize(
    ("model", "path"), [(MLP, "fc2"), (CONVOLUTIONAL, "block1.conv1")], ids=["features", "image"]
)
def test_a_layer_is_fed_what_is_given(
    model: ModelSpec, path: str, backend: Backend, reference: Backend
) -> None:
    images = backend.dataset(data := split(model)).read(batch(backend, data))[0]
    shape = (23, *next(node.input_shape for node in model.walk() if node.path == path))
    given = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)

    def compute(seed: int) -> State:
        parts = build(reference, model, state=start(model, seed))
        return parts.model.trace(images, None, {path: given.astype(np.float64)})

    against_noise(compute, build(backend, model).model.trace(images, None, {path: given}))


@pytest.mark.parametrize("model", [MLP, CONVOLUTIONAL], ids=lambda model: model.name)
def test_prediction_is_the_last_output_in_evaluation(model: ModelSpec, backend: Backend) -> None:
    images = backend.dataset(data := split(model)).read(batch(backend, data))[0]
    parts = build(backend, model)
    parts.loop.train_step([batch(backend, data)], step_input(model))
    last = list(parts.model.trace(images, None).values())[-1]
    np.testing.assert_allclose(parts.model.predict(images), last, rtol=1e-5, atol=1e-6)


@pytest.mark.needs("images")
def test_max_pool_gives_the_gradient_to_the_first_of_equals(backend: Backend, reference: Backend) -> None:
    """Two channels that take turns sum to the same everywhere; their gradients tell which pixel won."""
    model = ModelSpec(
        "ties",
        (2, 4, 4),
        (conv(3, 1), MaxPool2d(kernel_size=2), Flatten(), Linear(out_features=CLASSES)),
    )
    images = np.zeros((4, 2, 4, 4), dtype=np.uint8)
    images[:, 0, ::2, ::2] = images[:, 1, 1::2, :] = images[:, 1, ::2, 1::2] = 255
    data = Split(images, np.arange(4, dtype=np.int64), per_channel([0, 0]), per_channel([1, 1]))
    start = plan.initial_state(0, model)
    start["conv1.weight"][:] = np.array([1, 2, 4], dtype=np.float32)[:, None, None, None]  # sums are exact
    start["conv1.bias"][:] = 0

    def gradients(under: Backend, state: State) -> State:
        found = build(under, model, state=state).loop.gradients(batch(under, data), step_input(model))
        return {"conv1.weight": found["conv1.weight"]}

    expected = gradients(reference, start)
    assert not np.allclose(expected["conv1.weight"][:, 0], expected["conv1.weight"][:, 1])
    heads = [start | nudged({"fc1.weight": start["fc1.weight"]}, seed) for seed in range(4)]
    against_noise(
        lambda seed: gradients(reference, heads[seed] if seed else start), gradients(backend, start)
    )


def test_relu_passes_no_gradient_at_zero(backend: Backend) -> None:
    layers = (Flatten(), Linear(out_features=6), ReLU(), Linear(out_features=CLASSES))
    model = ModelSpec("zero", (1, 3, 3), layers)
    state = plan.initial_state(0, model)
    state["fc1.weight"][:] = state["fc1.bias"][:] = 0
    data = split(model)
    gradients = build(backend, model, state=state).loop.gradients(batch(backend, data), step_input(model))
    assert not gradients["fc1.weight"].any()
    assert not gradients["fc1.bias"].any()
