"""One training as a value, every default explicit."""

from dataclasses import asdict, replace
from functools import cached_property
from pathlib import PureWindowsPath
from typing import Annotated, Any, cast

import tomli_w
from pydantic import AfterValidator, Field

from xtrain import data, models, plan
from xtrain.recipe.data import AbsolutePath, Data, Normalize
from xtrain.recipe.loop import Loop
from xtrain.recipe.schedules import Clock, Constant, Plateau, Schedule
from xtrain.recipe.stopping import EarlyStopping
from xtrain.recipe.watch import Metric
from xtrain.spec import CrossEntropy, Draws, LossSpec, ModelSpec, OptimizerSpec, StepInput
from xtrain.spec.base import frozen

SEEDS = 2**63
"""How many seeds there are: TOML's whole numbers have 64 bits, one of them the sign."""
_LONGEST_NAME = 200
"""Bytes: file systems take 255, and a run's directory is called `<name>-<backend>-<time>`."""


def _names_a_file(name: str) -> str:
    """Refuse what some system takes for no name, for another one or for a hidden one."""
    if len(name.encode()) > _LONGEST_NAME:
        raise ValueError(f"must be of {_LONGEST_NAME} bytes at most: directories are named after it")
    if name.startswith(".") or name.endswith("."):
        raise ValueError("must not begin or end with a dot: directories are named after it")
    if PureWindowsPath(name).is_reserved():
        raise ValueError("must not be a device's name under Windows: directories are named after it")
    return name


@frozen
class Recipe:
    """One training, whatever the framework."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$"), AfterValidator(_names_a_file)]
    seed: Annotated[int, Field(ge=0, lt=SEEDS)] = 0
    data: Data
    model: models.AnyModel
    init_from: AbsolutePath = None
    loss: LossSpec = CrossEntropy()
    optimizer: OptimizerSpec
    schedule: Schedule = Constant()
    stopping: EarlyStopping | None = None
    loop: Loop

    @cached_property
    def model_spec(self) -> ModelSpec:
        """The model, placed over the data set's images."""
        about = data.info(self.data)
        return models.place(self.model, self.data.input_shape(about), about.classes)

    @property
    def normalize(self) -> Normalize:
        """Mean and standard deviation in force."""
        return self.data.normalize or self.data.statistics(data.info(self.data))

    def steps_per_epoch(self, samples: int) -> int:
        """How many updates an epoch over so many samples has."""
        batches = plan.batches_per_epoch(samples, self.data.batch_size, self.data.drop_last)
        return -(-batches // self.loop.accumulate)

    def draws(self, samples: int, epoch: int, skip: int = 0) -> Draws:
        """The plan's choices for an epoch (counted from 1) over so many samples, after `skip` batches."""
        section = self.data
        return plan.train_draws(
            self.seed,
            epoch,
            samples,
            section.batch_size,
            drop_last=section.drop_last,
            augment=section.augment,
            skip=skip,
        )

    def step_input(self, clock: Clock) -> StepInput:
        """What a step is handed besides its batches."""
        keys = plan.dropout_keys(self.seed, clock.step, self.model_spec)
        return StepInput(clock.step, self.lr(clock), keys, self.momentum(clock))

    def lr(self, clock: Clock) -> float:
        """Learning rate of a step."""
        return self.schedule.lr(self.optimizer.lr, clock)

    def momentum(self, clock: Clock) -> float | None:
        """Momentum of a step, where the schedule moves it."""
        return self.schedule.momentum(clock)

    def resolved(self) -> "Recipe":
        """The same with every default explicit that hangs on another key."""
        split = "test" if self.data.validation is None else "val"
        loss, accuracy = cast(Metric, f"{split}_loss"), cast(Metric, f"{split}_accuracy")
        schedule, stopping = self.schedule, self.stopping
        if isinstance(schedule, Plateau) and schedule.monitor is None:
            schedule = replace(schedule, monitor=loss)
        if stopping and stopping.monitor is None:
            stopping = replace(stopping, monitor=loss)
        return replace(
            self,
            data=replace(self.data, normalize=self.normalize),
            schedule=schedule,
            stopping=stopping,
            loop=replace(self.loop, monitor=self.loop.monitor or accuracy),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, every default explicit."""
        plain = _plain(asdict(self.resolved()))
        assert isinstance(plain, dict)
        return plain

    def to_toml(self) -> str:
        """The resolved recipe as TOML, which `load_recipe` reads back to an equal one."""
        return tomli_w.dumps(self.to_dict())


def _plain(value: Any) -> Any:
    """TOML's own types; what is None is left out."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return value
