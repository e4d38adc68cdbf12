"""What changes from step to step is taken anew at each, and what batches leave behind is left by each."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from xtrain import plan
from xtrain.conformance.cases import CONVOLUTIONAL, MLP, OPTIMIZERS, SAMPLES, split, step_input
from xtrain.conformance.compare import against_noise
from xtrain.conformance.computed import start
from xtrain.conformance.parts import Parts, batch, build
from xtrain.protocols import Backend
from xtrain.spec import State

STEPS: dict[str, Sequence[Any]] = {
    "lr": (0.05, 0.02, 0.08, 0.01),
    "momentum": (0.9, 0.5, 0.7, 0.3),
    "share": (1 / SAMPLES, 3 / SAMPLES, 0.5 / SAMPLES, 2 / SAMPLES),
    "number": (1, 2, 7, 40),
    "first_rows": ((0,), (23,), (5,), (460,)),
    "dropout_keys": tuple(plan.dropout_keys(0, number, MLP) for number in (1, 2, 7, 40)),
}
"""Four values of each field of `StepInput`, none of them the one before."""


@pytest.mark.parametrize(
    ("optimizer", "field"),
    [
        *(("sgd_nesterov", field) for field in (*STEPS, "all")),
        ("rmsprop_everything", "all"),
        ("adamw", "all"),
    ],
)
def test_each_step_takes_its_own_values(
    optimizer: str, field: str, backend: Backend, reference: Backend
) -> None:
    """A compiled step that keeps a value of the first one trains on and shows nothing.

    One field moves at a time, then all of them together.
    """
    data, first = split(MLP), replace(step_input(MLP), **{name: values[0] for name, values in STEPS.items()})
    moving = STEPS if field == "all" else {field: STEPS[field]}

    def train(under: Backend, seed: int = 0) -> State:
        parts = build(under, MLP, OPTIMIZERS[optimizer], start(MLP, seed))
        for values in zip(*moving.values(), strict=True):
            step = replace(first, **dict(zip(moving, values, strict=True)))
            parts.loop.train_step([batch(under, data)], step)
        return parts.model.state() | _buffers(parts)

    against_noise(lambda seed: train(reference, seed), train(backend))


@pytest.mark.needs("images")
def test_running_statistics_move_once_for_each_batch(backend: Backend, reference: Backend) -> None:
    """The batches of one step move them in their order, as if each were a step of its own.

    Parameters come from the reference's step over the same batches. The statistics come from its gradients,
    batch by batch, because a reference that is wrong here would be compared with itself.
    """
    sizes, data = (9, 9, 5), split(CONVOLUTIONAL)
    firsts, step = plan.first_rows(sizes), step_input(CONVOLUTIONAL, sizes=sizes)

    def step_over_all(under: Backend, seed: int = 0) -> State:
        parts = build(under, CONVOLUTIONAL, state=start(CONVOLUTIONAL, seed))
        pieces = zip(sizes, firsts, strict=True)
        parts.loop.train_step([batch(under, data, size, first) for size, first in pieces], step)
        return parts.model.state()

    def wanted(seed: int) -> State:
        parts = build(reference, CONVOLUTIONAL, state=start(CONVOLUTIONAL, seed))
        for size, first in zip(sizes, firsts, strict=True):
            parts.loop.gradients(batch(reference, data, size, first), replace(step, first_rows=(first,)))
        return step_over_all(reference, seed) | _statistics(parts)

    against_noise(wanted, step_over_all(backend))


@pytest.mark.needs("images")
def test_a_trace_in_training_moves_the_statistics(backend: Backend, reference: Backend) -> None:
    """As a training step does; twice over, so that they are moved and not set."""
    data, step = split(CONVOLUTIONAL), step_input(CONVOLUTIONAL)
    images = backend.dataset(data).read(batch(backend, data))[0]
    traced = build(backend, CONVOLUTIONAL)
    for _ in range(2):
        traced.model.trace(images, step)

    def wanted(seed: int) -> State:
        parts = build(reference, CONVOLUTIONAL, state=start(CONVOLUTIONAL, seed))
        for _ in range(2):
            parts.loop.gradients(batch(reference, data), step)
        return _statistics(parts)

    against_noise(wanted, _statistics(traced))


def _statistics(parts: Parts) -> State:
    return {name: value for name, value in parts.model.state().items() if "running" in name}


def _buffers(parts: Parts) -> State:
    return {name: value for name, value in parts.optimizer.state().items() if name != "step"}
