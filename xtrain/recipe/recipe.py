"""One training as a value, every default explicit."""

from dataclasses import asdict, replace
from functools import cached_property
from typing import Annotated, Any

import tomli_w
from pydantic import Field

from xtrain import data, models
from xtrain.recipe.data import Data, Normalize
from xtrain.recipe.loop import Loop
from xtrain.schedules import Constant, Schedule
from xtrain.spec import CrossEntropy, ModelSpec, OptimizerSpec
from xtrain.spec.base import frozen


@frozen
class Recipe:
    """One training, whatever the framework."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    data: Data
    model: models.AnyModel
    loss: CrossEntropy = CrossEntropy()
    optimizer: OptimizerSpec
    schedule: Schedule = Constant()
    loop: Loop

    @cached_property
    def model_spec(self) -> ModelSpec:
        """The model, placed over the data set's images."""
        about = data.info(self.data.name)
        return models.place(self.model, about.input_shape, about.classes)

    @property
    def normalize(self) -> Normalize:
        """Mean and standard deviation in force."""
        about = data.info(self.data.name)
        return self.data.normalize or Normalize(mean=about.mean, std=about.std)

    def lr(self, epoch: int) -> float:
        """Learning rate in an epoch (counted from 1)."""
        return self.optimizer.lr * self.schedule.factor(epoch)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, every default explicit."""
        resolved = replace(self, data=replace(self.data, normalize=self.normalize))
        plain = _plain(asdict(resolved))
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
