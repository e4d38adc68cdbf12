"""One backend's parts for one recipe, to be set to any state and asked for any step."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from xtrain import data
from xtrain.conformance.noise import nudged
from xtrain.errors import UsageError
from xtrain.parity.trace import UNITS
from xtrain.protocols import Backend, Batch
from xtrain.recipe import Job, Recipe
from xtrain.spec import Draws, Split, State, StepInput
from xtrain.training import assembly

JUMPS = 16
"""Gradients jump where a ReLU or a pool decides the other way. Whether one does between two backends is
chance, and so it is between draws; nudged by so many times as much, the draws have some."""


def require_float32(recipe: Recipe) -> None:
    """`UsageError` where a recipe asks for another precision."""
    if recipe.loop.precision != "float32":
        raise UsageError(
            f"loop.precision = {recipe.loop.precision!r}: what backends may differ by is float32's rounding",
            remedy="compare with --set loop.precision=float32",
        )


class Bench:
    """Parts that hold the run's initial state until `reset`.

    Args:
        backend: whose.
        job: what the run is about.
        arrays: its data.

    """

    def __init__(self, backend: Backend, job: Job, arrays: data.Arrays) -> None:
        self.job, self.recipe, self.spec = job, job.recipe, job.model
        self._backend, self._split = backend, assembly.splits(job, arrays)[0]
        self.initial = assembly.initial_state(job)
        self.parts = assembly.build(backend, job, arrays, self.initial)
        self.blank = self.parts.optimizer.state()
        self.buffers = [name for name in self.spec.tensors if name not in self.spec.trainable]

    def reset(self, model: State, optimizer: State | None = None) -> None:
        """Set weights, and moments; without these the optimizer begins anew."""
        self.parts.model.load(model)
        self.parts.optimizer.load(self.blank if optimizer is None else optimizer)

    def step(self, number: int, samples: int | None = None) -> StepInput:
        """What the trainer hands over at a step (counted from 1), or would over its first `samples` alone."""
        batches = self.draws(number).batches[: 1 if samples else self.recipe.loop.accumulate]
        labels = [self.parts.train.labels[indices[:samples]] for indices in batches]
        return self.job.step_input(self.job.clock(number), labels)

    def weight(self, number: int, samples: int) -> float:
        """What the first `samples` of a step's first batch weigh in a mean loss."""
        return self.job.weight(self.parts.train.labels[self.draws(number).batches[0][:samples]])

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Of an epoch, as the trainer asks for them."""
        return self.parts.train.dataset.batches(self.job.draws(epoch))

    def groups(self, number: int) -> list[Batch]:
        """What the trainer hands over at a step: as many batches as it accumulates."""
        draws = self.draws(number)
        several = draws.batches[: self.recipe.loop.accumulate]
        return list(self.parts.train.dataset.batches(replace(draws, batches=several)))

    def batch(self, number: int, samples: int, draw: int, jumps: int = 1) -> Batch:
        """The first `samples` of a step's first batch, its pixels nudged as draw `draw` has it.

        Sums over an image round at each of its terms, which nudged weights alone do not show.
        """
        draws = self.draws(number)
        dataset = self._backend.dataset(self._nudged(draw, jumps)) if draw else self.parts.train.dataset
        return next(dataset.batches(replace(draws, batches=(draws.batches[0][:samples],))))

    def _nudged(self, draw: int, jumps: int) -> Split:
        """The training split with a mean and a deviation for each place of an image, which are nudged."""
        shape, split = self.spec.input_shape, self._split
        spread = {"mean": np.broadcast_to(split.mean, shape), "std": np.broadcast_to(split.std, shape)}
        found = moved(spread, draw, jumps)
        return replace(split, mean=found["mean"], std=found["std"])

    def draws(self, number: int) -> Draws:
        """The plan's choices from a step on, to the end of its epoch."""
        epoch, step = divmod(number - 1, self.job.steps_per_epoch)
        return self.job.draws(epoch + 1, step * self.recipe.loop.accumulate)


def moved(state: State, draw: int, jumps: int = 1) -> State:
    """`state` as draw `draw` of `UNITS` has it: nudged, and rounded as a float32 backend stores it.

    Draws of more than one unit are moved by `jumps` times as many.
    """
    units = UNITS[draw] * (jumps if UNITS[draw] > 1 else 1)
    return {
        name: value.astype(np.float32) if np.issubdtype(value.dtype, np.floating) else value
        for name, value in nudged(state, draw, units).items()
    }
