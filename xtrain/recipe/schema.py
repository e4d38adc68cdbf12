"""The JSON Schema of a recipe, for editors: ours and the parts of the packages that are installed."""

import logging
from typing import Any

from pydantic import TypeAdapter

from xtrain.data import DATASETS
from xtrain.errors import PluginError
from xtrain.models import MODELS
from xtrain.recipe.observers import OBSERVERS
from xtrain.recipe.recipe import Recipe
from xtrain.recipe.schedules import SCHEDULES
from xtrain.spec.augment import AUGMENTS, TRANSFORMS
from xtrain.spec.layer import LAYERS
from xtrain.spec.loss import LOSSES
from xtrain.spec.optimizer import OPTIMIZERS
from xtrain.spec.parts import PLACEHOLDER, Parts

_ALL = (AUGMENTS, TRANSFORMS, MODELS, LOSSES, OPTIMIZERS, SCHEDULES, LAYERS, OBSERVERS)
_OPTIONAL_NAMES = {"custom"}
"""Models whose name may be left out: one that spells its layers out needs none."""

_log = logging.getLogger(__name__)


def json_schema() -> dict[str, Any]:
    """The schema of a recipe's TOML as plain values (draft 2020-12)."""
    schema = _schema(Recipe)
    definitions: dict[str, Any] = schema.pop("$defs")
    for parts in _ALL:
        members = _members(parts, definitions)
        definitions[parts.title] = {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in members]}
    definitions["Data"] = _data(definitions)
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "$defs": definitions}
    found: dict[str, Any] = _referring(whole)
    return found


def _referring(schema: Any) -> Any:
    """With references where a sort of parts stands."""
    if isinstance(schema, list):
        return [_referring(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _referring(value) for key, value in schema.items()}
    return {"$ref": f"#/$defs/{made.pop(PLACEHOLDER)}", **made} if PLACEHOLDER in made else made


def _schema(kind: type) -> dict[str, Any]:
    return TypeAdapter(kind).json_schema(ref_template="#/$defs/{model}")


def _members(parts: Parts[Any], definitions: dict[str, Any]) -> list[str]:
    """Put the schema of each part among the definitions; their names there."""
    kinds: dict[type, None] = {}
    for name in parts.names():
        try:
            if kind := parts.find(name):
                kinds[kind] = None
        except PluginError as error:  # a broken package must not stop the others
            _log.warning("%s is left out of the schema: %s", name, error)
    for kind in kinds:
        schema = _schema(kind)
        definitions |= schema.pop("$defs", {})
        tag = schema["properties"][parts.tag]
        tag.pop("default", None)
        if not _OPTIONAL_NAMES & {tag.get("const")}:
            schema["required"] = sorted({parts.tag, *schema.get("required", ())})
        definitions[f"{parts.title}.{kind.__name__}"] = schema
    return [f"{parts.title}.{kind.__name__}" for kind in kinds]


def _data(definitions: dict[str, Any]) -> dict[str, Any]:
    """The `[data]` section: a data set's own keys stand beside those that all have."""
    shared = definitions["Data"]
    shared["properties"].pop("dataset")
    required = set(shared["required"]) - {"dataset"}
    choices = []
    for name in _members(DATASETS, definitions):
        own = definitions.pop(name)
        choices.append(
            {
                "title": own["title"],
                "description": own.get("description", ""),
                "type": "object",
                "properties": {**own["properties"], **shared["properties"]},
                "required": sorted({*own["required"], *required}),
                "additionalProperties": False,
            }
        )
    return {"title": "Data", "description": shared.get("description", ""), "oneOf": choices}
