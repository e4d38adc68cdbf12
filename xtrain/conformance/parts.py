"""Model, optimizer and loop of a backend with a given state, ready for a test."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from xtrain import plan
from xtrain.conformance.cases import LOSS, SAMPLES, split, step_input
from xtrain.protocols import Backend, Loop, Model, Optimizer
from xtrain.spec import SGD, Draws, LossSpec, ModelSpec, OptimizerSpec, Split, State


def thorough(*values: Any) -> list[Any]:
    """Values of a row that --quick leaves out; to be joined to those that it keeps."""
    return [pytest.param(value, marks=pytest.mark.thorough) for value in values]


@dataclass(frozen=True)
class Parts:
    model: Model
    optimizer: Optimizer
    loop: Loop


def build(
    backend: Backend,
    spec: ModelSpec,
    optimizer: OptimizerSpec | None = None,
    state: State | None = None,
    loss: LossSpec = LOSS,
) -> Parts:
    model = backend.model(spec)
    model.load(plan.initial_state(0, spec) if state is None else state)
    lowered = backend.optimizer(optimizer or SGD(lr=0.1), model)
    return Parts(model, lowered, backend.loop(model, loss, lowered))


def batch(backend: Backend, split: Split, samples: int | None = None, start: int = 0) -> Any:
    """One native batch of the samples from `start`."""
    stop = len(split.labels) if samples is None else start + samples
    draws = Draws((np.arange(start, stop, dtype=np.int64),))
    (only,) = list(backend.dataset(split).batches(draws))
    return only


def mean_losses(
    parts: Parts, backend: Backend, model: ModelSpec, steps: int, evaluated: bool = False
) -> NDArray[np.float64]:
    """Of so many steps over three overlapping batches, and of an evaluation after them if asked for."""
    data = split(model)
    handles = [
        parts.loop.train_step([batch(backend, data, 9, 7 * (n % 3))], step_input(model, n, 0.01, (9,)))
        for n in range(1, steps + 1)
    ]
    counts = [9] * steps
    if evaluated:
        handles.append(parts.loop.eval_step(batch(backend, data)))
        counts.append(SAMPLES)
    sums = [figures.loss_sum for figures in parts.loop.read(handles)]
    means: NDArray[np.float64] = np.array(sums) / np.array(counts)
    return means


def float32(state: State) -> State:
    """As a float32 backend stores it."""
    return {
        name: value.astype(np.float32) if value.dtype == np.float64 else value
        for name, value in state.items()
    }
