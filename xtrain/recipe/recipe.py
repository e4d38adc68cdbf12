"""One training as a value, every default explicit."""

from dataclasses import asdict, replace
from pathlib import PureWindowsPath
from typing import Annotated, Any, cast

import tomli_w
from pydantic import AfterValidator, Field, Strict

from xtrain import data, models
from xtrain.data import AbsolutePath, DatasetInfo
from xtrain.errors import RecipeError
from xtrain.recipe import limits
from xtrain.recipe.checks import check_batches, check_data, check_loss
from xtrain.recipe.data import Data, flat
from xtrain.recipe.job import Job
from xtrain.recipe.loop import Loop
from xtrain.recipe.observers import AnyObserver
from xtrain.recipe.schedules import Constant, Schedule
from xtrain.recipe.stopping import EarlyStopping
from xtrain.recipe.watch import Metric
from xtrain.spec import CrossEntropy, LossSpec, OptimizerSpec
from xtrain.spec.base import frozen
from xtrain.spec.parts import plain
from xtrain.spec.tensors import ShapeError

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
    """One training, whatever the framework.

    Args:
        name: what the run's directory is called after.
        seed: of all random choices: initial weights, order, augmentation, dropout.
        data: what is trained on.
        model: a family with its options, or layers spelled out.
        init_from: a run or a file whose weights the training begins with.
        loss: what is made small.
        optimizer: how the weights are changed.
        schedule: how the learning rate goes on from step to step.
        stopping: when to stop before the last epoch.
        loop: how long, and how often something is kept.
        observers: who watches, besides what every run records.

    """

    name: Annotated[str, Field(pattern=r"^[\w.-]+$"), AfterValidator(_names_a_file)]
    seed: Annotated[int, Field(ge=0, lt=SEEDS)] = 0
    data: Data
    model: models.AnyModel
    init_from: AbsolutePath | None = None
    loss: LossSpec = CrossEntropy()
    optimizer: OptimizerSpec
    schedule: Schedule = Constant()
    stopping: EarlyStopping | None = None
    loop: Loop
    observers: Annotated[tuple[AnyObserver, ...], Strict(False)] = ()

    def bind(self, info: DatasetInfo | None = None, where: object = None) -> Job:
        """The training that this recipe is over a data set with these facts.

        Args:
            info: by default what the data set that the recipe names says of itself, which looks at the data
                where it is one's own.
            where: what errors name, such as the recipe's file.

        Raises:
            RecipeError: the recipe can't be run over this data.

        """
        about = info or data.info(self.data.dataset)
        section = check_data(self.data, about, where)
        limits.check_images(section, about, where)
        try:
            model = models.place(self.model, section.input_shape(about), about.classes)
        except ShapeError as error:
            raise RecipeError(f"model.name = {self.model.name!r}: {error}", where=where) from None
        limits.check_model(section, self.loop.accumulate, model, about, where)
        job = Job(replace(self, data=section), about, model)
        check_batches(section, model, job.samples, where)
        check_loss(self.loss, model, where)
        return job

    def resolved(self) -> "Recipe":
        """The same with every default explicit that hangs on another key, and on nothing of the data."""
        split = "test" if self.data.validation is None else "val"
        loss, accuracy = cast(Metric, f"{split}_loss"), cast(Metric, f"{split}_accuracy")
        stopping = self.stopping
        if stopping and stopping.monitor is None:
            stopping = replace(stopping, monitor=loss)
        return replace(
            self,
            schedule=self.schedule.watching(loss),
            stopping=stopping,
            loop=replace(self.loop, monitor=self.loop.monitor or accuracy),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, every default explicit."""
        values = asdict(self)
        found: dict[str, Any] = plain({**values, "data": flat(values["data"])})
        return found

    def to_toml(self) -> str:
        """The recipe as TOML, which `load_recipe` reads back to an equal one."""
        return tomli_w.dumps(self.to_dict())
