"""The JSON Schema of a recipe, for editors: ours and the parts of the packages that are installed."""

import logging
from dataclasses import is_dataclass
from typing import Any

from pydantic import PydanticUserError, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from xtrain.data import DATASETS
from xtrain.errors import PluginError
from xtrain.models import MODELS
from xtrain.recipe import described
from xtrain.recipe.observers import OBSERVERS
from xtrain.recipe.recipe import Recipe
from xtrain.recipe.schedules import SCHEDULES
from xtrain.spec.augment import AUGMENTS, TRANSFORMS
from xtrain.spec.layer import LAYERS
from xtrain.spec.loss import LOSSES
from xtrain.spec.optimizer import OPTIMIZERS
from xtrain.spec.parts import PLACEHOLDER, Parts
from xtrain.system import log

_ALL = (AUGMENTS, TRANSFORMS, MODELS, LOSSES, OPTIMIZERS, SCHEDULES, LAYERS, OBSERVERS)
_TAGS = ("name", "op")
_CUSTOM = "custom"  # a model with layers may leave its name out

_notes = logging.getLogger(log.NOTES)


class _Schema(GenerateJsonSchema):
    """As pydantic makes it, for TOML: nothing is null there, and docstrings describe the keys."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """A key that may be left out is never null."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """A default of None means that the key is left out; that of a section is said by its own keys."""
        default = schema.get("default")
        if default is None or is_dataclass(default):
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        """A section, described by its docstring, its tag among what is required."""
        made = super().dataclass_schema(schema)
        made["description"] = described.summary(schema["cls"])
        for key, text in described.keys(schema["cls"]).items():
            if key in made["properties"]:
                made["properties"][key]["description"] = text
        for tag in _TAGS:
            values = made["properties"].get(tag, {})
            if ("const" in values or "enum" in values) and values.get("const") != _CUSTOM:
                made["required"] = [tag, *(key for key in made.get("required", []) if key != tag)]
        return made


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a recipe, all parts that a recipe can name among them."""
    whole = _of(Recipe)
    definitions: dict[str, Any] = whole["$defs"]
    for parts in _ALL:
        members = _members(parts, definitions)
        definitions[parts.title] = {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in members]}
    definitions["Data"] = _data(definitions)
    found: dict[str, Any] = _referring(whole)
    return {"$schema": _Schema.schema_dialect, **found, "title": "An xtrain recipe"}


def _of(kind: type, prefix: str = "") -> dict[str, Any]:
    """The schema of a class, which refers to its `$defs` with a `prefix` before their names."""
    return TypeAdapter(kind).json_schema(ref_template=f"#/$defs/{prefix}{{model}}", schema_generator=_Schema)


def _members(parts: Parts[Any], definitions: dict[str, Any]) -> list[str]:
    """Put the schema of each part among the definitions; their names there."""
    made: dict[type, str] = {}
    for name in parts.names():
        try:
            kind = parts.find(name)
            if kind is None or kind in made:
                continue
            place = f"{parts.title}.{kind.__name__}"
            if place in definitions:  # packages do not know what others call their classes
                place = f"{parts.title}.{kind.__module__}.{name}"
            prefix = "" if name in parts.own else f"{place}."
            found = _of(kind, prefix)
        except (PluginError, PydanticUserError) as error:  # a broken package must not stop the others
            if name in parts.own:
                raise
            package, problem = parts.offered()[name], getattr(error, "message", error)
            _notes.warning("%s of %s is left out of the schema: %s", name, package, problem)
            continue
        definitions |= {f"{prefix}{key}": value for key, value in found.pop("$defs", {}).items()}
        definitions[place], made[kind] = found, place
    return list(made.values())


def _data(definitions: dict[str, Any]) -> dict[str, Any]:
    """The `[data]` section: a data set's own keys stand beside those that all have."""
    shared = definitions["Data"]
    shared["properties"].pop("dataset")
    required = [key for key in shared["required"] if key != "dataset"]
    choices = []
    for name in _members(DATASETS, definitions):
        own = definitions.pop(name)
        properties = {**own["properties"], **shared["properties"]}
        choices.append({**own, "properties": properties, "required": [*own["required"], *required]})
    return {"title": "Data", "description": shared["description"], "oneOf": choices}


def _referring(found: Any) -> Any:
    """With references where a sort of parts stands."""
    if isinstance(found, list):
        return [_referring(item) for item in found]
    if not isinstance(found, dict):
        return found
    made = {key: _referring(value) for key, value in found.items()}
    return {"$ref": f"#/$defs/{made.pop(PLACEHOLDER)}", **made} if PLACEHOLDER in made else made
