"""A recipe bound to its data's facts: shapes, classes, lengths, denominators, before any image is read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xtrain import plan
from xtrain.data import DatasetInfo
from xtrain.recipe.data import Normalize
from xtrain.recipe.schedules import Clock
from xtrain.recipe.watch import Metric, Watch
from xtrain.spec import ALONE, Draws, ModelSpec, Place, StepInput
from xtrain.spec.parts import OwnCode

if TYPE_CHECKING:
    from xtrain.recipe.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """All that is decided about a training, whatever the framework. `Recipe.bind` makes one.

    Args:
        recipe: with every default explicit, the data set's mean and deviation among them.
        data: facts of the data set.
        model: placed over the data set's images.

    """

    recipe: "Recipe"
    data: DatasetInfo
    model: ModelSpec

    @property
    def normalize(self) -> Normalize:
        """Mean and standard deviation in force."""
        normalize = self.recipe.data.normalize
        assert normalize is not None  # a job's defaults are explicit
        return normalize

    @property
    def monitor(self) -> Metric:
        """The figure of an epoch that the best one goes by."""
        monitor = self.recipe.loop.monitor
        assert monitor is not None  # a job's defaults are explicit
        return monitor

    @cached_property
    def samples(self) -> int:
        """Number of images that are trained on."""
        return self.recipe.data.train_samples(self.data)

    @cached_property
    def batches_per_epoch(self) -> int:
        """Number of training batches in an epoch."""
        section = self.recipe.data
        return plan.batches_per_epoch(self.samples, section.batch_size, section.drop_last)

    @cached_property
    def steps_per_epoch(self) -> int:
        """Number of updates in an epoch."""
        return -(-self.batches_per_epoch // self.recipe.loop.accumulate)

    @cached_property
    def steps(self) -> int:
        """Number of updates in the whole run."""
        return self.steps_per_epoch * self.recipe.loop.epochs

    def is_over(self, epoch: int, stopping: Watch) -> bool:
        """True where a run that has `epoch` epochs behind it has no other to train."""
        early = self.recipe.stopping
        return epoch >= self.recipe.loop.epochs or (early is not None and early.over(stopping))

    def draws(self, epoch: int, skip: int = 0) -> Draws:
        """The plan's choices for an epoch (counted from 1), after `skip` batches."""
        section = self.recipe.data
        return plan.train_draws(
            self.recipe.seed,
            epoch,
            self.samples,
            section.batch_size,
            drop_last=section.drop_last,
            augment=section.augment,
            skip=skip,
        )

    def own(self, draws: Draws, place: Place) -> Draws:
        """What one of several processes takes of training draws: its rows, a first row where it has none."""
        own = (indices[self._rows(len(indices), place)] for indices in draws.batches)
        batches = (rows if len(rows) else whole[:1] for rows, whole in zip(own, draws.batches, strict=True))
        return replace(draws, batches=tuple(batches))

    def clock(self, step: int, reductions: int = 0) -> Clock:
        """Where a step (counted from 1) is in the run; `reductions`: how often a plateau has reduced."""
        epoch = (step - 1) // self.steps_per_epoch + 1
        return Clock(epoch, step, self.steps_per_epoch, self.recipe.loop.epochs, reductions)

    def lr(self, clock: Clock) -> float:
        """Learning rate of a step."""
        with OwnCode("whose learning rate fails", self.recipe.schedule):
            return float(self.recipe.schedule.lr(self.recipe.optimizer.lr, clock))

    def weight(self, labels: NDArray[np.int64]) -> float:
        """Total weight of samples with these labels [B] in a mean loss."""
        return plan.weight(labels, self.recipe.loss.class_weights)

    def step_input(
        self, clock: Clock, labels: Sequence[NDArray[np.int64]], place: Place = ALONE
    ) -> StepInput:
        """What a step is handed besides its batches; given are their labels [B], those of all processes."""
        recipe, sizes = self.recipe, [len(each) for each in labels]
        own = [self._rows(size, place) for size in sizes]
        share = 1.0
        if recipe.loss.reduction == "mean":
            total = sum(map(self.weight, labels))
            share = 1 / total if total else np.nan  # where no sample weighs anything there is no mean
        with OwnCode("whose momentum fails", recipe.schedule):
            momentum = recipe.schedule.momentum(clock)
        return StepInput(
            number=clock.step,
            lr=self.lr(clock),
            momentum=momentum,
            dropout_keys=plan.dropout_keys(recipe.seed, clock.step, self.model),
            share=share,
            first_rows=tuple(
                first + rows.start for first, rows in zip(plan.first_rows(sizes), own, strict=True)
            ),
            fillers=frozenset(index for index, rows in enumerate(own) if rows.start == rows.stop),
        )

    def _rows(self, size: int, place: Place) -> slice:
        return plan.own_rows(size, self.recipe.data.batch_size, place)
