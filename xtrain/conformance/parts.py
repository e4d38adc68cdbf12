"""Model, optimizer and loop of a backend with a given state, ready for a test."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from xtrain import plan
from xtrain.conformance.cases import LOSS
from xtrain.protocols import Backend, Loop, Model, Optimizer
from xtrain.spec import SGD, Draws, LossSpec, ModelSpec, OptimizerSpec, Split, State


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


def float32(state: State) -> State:
    """As a float32 backend stores it."""
    return {
        name: value.astype(np.float32) if value.dtype == np.float64 else value
        for name, value in state.items()
    }
