"""TOML -> `Recipe`, or an error naming file, key, value and what is allowed."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xtrain.data import DATASETS
from xtrain.errors import PluginError, RecipeError, UsageError, suggest
from xtrain.models import MODELS
from xtrain.recipe.checks import check_momentum, check_watched
from xtrain.recipe.data import BATCHES, nested
from xtrain.recipe.job import Job
from xtrain.recipe.recipe import Recipe
from xtrain.recipe.schedules import SCHEDULES
from xtrain.spec.loss import LOSSES
from xtrain.spec.optimizer import OPTIMIZERS
from xtrain.spec.parts import Parts
from xtrain.spec.validation import validated
from xtrain.system import distribution

# A choice with a name has keys of its own: choosing another drops those it does not have.
_NAMED: Mapping[str, Parts[Any]] = {
    "data": DATASETS,
    "model": MODELS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}


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


def job_of(
    recipe: Recipe | Mapping[str, Any] | str | Path, overrides: Mapping[str, Any] | None = None
) -> Job:
    """A recipe over its data, however a program gives it: as a value, a mapping, a path or a name."""
    if isinstance(recipe, str | Path):
        return load_recipe(recipe, overrides).bind(where=find(recipe))
    values = recipe.to_dict() if isinstance(recipe, Recipe) else recipe
    if not isinstance(values, Mapping):
        raise UsageError(
            f"a recipe is no {type(recipe).__name__}",
            remedy="give a Recipe, a mapping, a path, or the name of a shipped one",
        )
    return parse(values, "recipe", overrides).bind(where="recipe")


def parse(values: Mapping[str, Any], where: object, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A checked recipe from plain values, which looks at no data; `where` is what errors name."""
    merged = _override(dict(values), overrides or {}, where)
    model = merged.get("model")
    if isinstance(model, dict) and "layers" in model and "name" not in model:
        merged["model"] = {"name": "custom", **model}
    if isinstance(merged.get("data"), dict):
        merged["data"] = nested(merged["data"])
    recipe = validated(Recipe, merged, where)
    check_momentum(recipe.schedule, recipe.optimizer, where)
    watched = {"loop.monitor": recipe.loop.monitor, "schedule.monitor": recipe.schedule.watched}
    watched |= {"stopping.monitor": recipe.stopping.monitor} if recipe.stopping else {}
    check_watched(watched, recipe.data, where)
    return recipe.resolved()


def shipped() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    folder = distribution.shipped("recipes", "recipes")
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


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
    if table.get("name") == name or not isinstance(name, str):
        return
    try:
        before, kind = (_NAMED[section].find(each) for each in (str(table.get("name")), name))
    except PluginError:
        return
    if kind and kind is not before:
        shared = BATCHES if section == "data" else set()
        for key in set(table) - set(kind.__dataclass_fields__) - shared:
            del table[key]
