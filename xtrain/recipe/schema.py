"""The JSON Schema of a recipe, from the types that validate one: for editors."""

from dataclasses import is_dataclass
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from xtrain.recipe import described
from xtrain.recipe.recipe import Recipe

_TAGS = ("name", "op")
_CUSTOM = "custom"  # a model with layers may leave its name out


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
    found = TypeAdapter(Recipe).json_schema(schema_generator=_Schema)
    return {"$schema": _Schema.schema_dialect, **found, "title": "An xtrain recipe"}
