"""TOML -> `Recipe`: every default explicit, or an error naming file, key, value and what is allowed."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import AfterValidator, Field, Strict

from xtrain import data, models
from xtrain.errors import RecipeError, UsageError, suggest
from xtrain.schedules import Constant, Schedule
from xtrain.spec import Augment, BatchNorm2d, CrossEntropy, ModelSpec, OptimizerSpec, RandomCrop
from xtrain.spec.base import Count, Floats, frozen
from xtrain.spec.layers import ShapeError
from xtrain.validation import validated

# A choice with a name has keys of its own: choosing another drops those it does not have.
_NAMED = ("model", "loss", "optimizer", "schedule")


@frozen
class Normalize:
    """Mean and standard deviation of each channel, for pixels between 0 and 1."""

    mean: Floats
    std: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Strict(False)]


@frozen
class Data:
    """What is trained on, and in which batches. Without `normalize` the data set's own figures hold."""

    name: str
    batch_size: Count
    eval_batch_size: Count = 256
    augment: Annotated[tuple[Augment, ...], Strict(False)] = ()
    normalize: Normalize | None = None
    drop_last: bool = False


def _interval(every: int | str) -> int | str:
    if (every >= 1) if isinstance(every, int) else re.fullmatch(r"[1-9]\d* epochs?", every):
        return every
    raise ValueError('give a number of steps, or "N epochs"')


@frozen
class Loop:
    """How long, and how often something is said or kept. `checkpoint_every`: steps, or `"N epochs"`."""

    epochs: Count
    log_every: Count = 100
    checkpoint_every: Annotated[int | str, AfterValidator(_interval)] = "1 epoch"

    def checkpoint_due(self, step: int, epoch: int, epoch_ends: bool) -> bool:
        """True where a checkpoint belongs after `step` of `epoch` (both counted from 1)."""
        if isinstance(self.checkpoint_every, int):
            return step % self.checkpoint_every == 0
        return epoch_ends and epoch % int(self.checkpoint_every.split()[0]) == 0


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


def load_recipe(source: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe by path or by the name of a shipped one.

    Args:
        source: `recipes/digits_mlp.toml`, or `digits_mlp`.
        overrides: values by dotted key, such as `{"optimizer.lr": 0.1}`.

    """
    path = find(source)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"can't be read: {error.strerror}", where=path) from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, or beyond what Python reads of it
        raise RecipeError(f"is not TOML: {error}", where=path) from error
    return parse(values, where=path, overrides=overrides)


def parse(values: Mapping[str, Any], where: object, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A checked recipe from plain values; `where` is what errors name."""
    merged = _override(dict(values), overrides or {}, where)
    model = merged.get("model")
    if isinstance(model, dict) and "layers" in model and "name" not in model:
        merged["model"] = {"name": "custom", **model}
    recipe = validated(Recipe, merged, where)
    _check(recipe, where)
    return replace(recipe, data=replace(recipe.data, normalize=recipe.normalize))


def shipped() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    package = Path(__file__).parent
    # In an installed package they lie inside it, in a checkout beside it.
    folder = next((f for f in (package / "recipes", package.parent / "recipes") if f.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.toml"))} if folder else {}


def find(source: str | Path) -> Path:
    """The file of a recipe given by path or by name."""
    known = shipped()
    path = Path(source)
    if os.path.isfile(path):  # unlike Path.is_file it takes any name
        return path
    if str(source) in known:
        return known[str(source)]
    problem = "is a directory, not a recipe" if os.path.isdir(path) else "there is no such recipe"
    hint = f"a path to a TOML file, or a shipped recipe: {suggest(path.stem, known)}"
    raise UsageError(problem, where=source, remedy=hint)


def _override(values: dict[str, Any], overrides: Mapping[str, Any], where: object) -> dict[str, Any]:
    # A section before its keys, and its name before the others: `--set optimizer.momentum=0.9
    # --set optimizer.name=sgd` means the same either way round.
    for key, value in sorted(overrides.items(), key=lambda item: _rank(item[0])):
        *sections, last = key.split(".")
        table = values
        for section in sections:
            inner = table.get(section, {})
            if not isinstance(inner, dict):
                raise RecipeError(f"{key}: {section} is a value, not a section", where=where)
            table[section] = table = dict(inner)
        if last == "name" and len(sections) == 1 and sections[0] in _NAMED:
            _drop_own_keys(table, sections[0], value)
        table[last] = value
    return values


def _rank(key: str) -> tuple[int, bool]:
    return key.count("."), not key.endswith(".name")


def _drop_own_keys(table: dict[str, Any], section: str, name: Any) -> None:
    """Keep only the keys that the newly named choice has too; an unknown name is refused later."""
    kinds: tuple[Any, ...] = {
        "model": tuple(models.FAMILIES.values()),
        "loss": (CrossEntropy,),
        "optimizer": OptimizerSpec.__origin__.__args__,  # type: ignore[attr-defined]  # of an Annotated union
        "schedule": Schedule.__origin__.__args__,  # type: ignore[attr-defined]  # likewise
    }[section]
    for kind in kinds:
        if kind.__dataclass_fields__["name"].default == name and table.get("name") != name:
            for key in set(table) - set(kind.__dataclass_fields__):
                del table[key]


def _check(recipe: Recipe, where: object) -> None:
    """Refuse what is well-formed but can't be run."""
    name = recipe.data.name
    if name not in data.names():
        raise RecipeError(f"data.name = {name!r}: unknown; {suggest(name, data.names())}", where=where)
    about = data.info(name)
    channels, height, width = about.input_shape
    for key in ("mean", "std"):
        given = getattr(recipe.normalize, key)
        if len(given) != channels:
            raise RecipeError(
                f"data.normalize.{key} = {list(given)}: {about.name} has {channels} channel(s), give as many",
                where=where,
            )
    for place, step in enumerate(recipe.data.augment):
        if isinstance(step, RandomCrop) and (step.size, step.size) != (height, width):
            raise RecipeError(
                f"data.augment[{place}].size = {step.size}: must be {height}, the size of the test images",
                where=where,
            )
    try:
        model = recipe.model_spec
    except ShapeError as error:
        raise RecipeError(f"model.name = {recipe.model.name!r}: {error}", where=where) from None
    _check_batches(recipe, model, about.train, where)


def _check_batches(recipe: Recipe, model: ModelSpec, samples: int, where: object) -> None:
    size, drop_last = recipe.data.batch_size, recipe.data.drop_last
    if drop_last and samples < size:
        raise RecipeError(
            f"data.batch_size = {size}: with drop_last no batch is left of {samples} samples", where=where
        )
    smallest = size if drop_last else samples % size or size
    for node in model.walk():
        if isinstance(node.layer, BatchNorm2d) and smallest == 1 and node.output_shape[1:] == (1, 1):
            raise RecipeError(
                f"data.batch_size = {size}: layer {node.path} would see a batch with one value per channel, "
                "which has no variance; change batch_size or set drop_last",
                where=where,
            )


def _plain(value: Any) -> Any:
    """TOML's own types; what is None is left out."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return value
