"""Parts that a recipe selects by name: ours, and those of other packages.

A part is a frozen class whose `name` (of a layer or augmentation: `op`) is a Literal of what selects it, and
whose other fields are the keys that the recipe's section takes. Ours are registered where they are defined;
another package offers one by an entry point of the same name, of which only the metadata is read until a
recipe names it:

    [project.entry-points."xtrain.schedules"]
    sawtooth = "my_package:Sawtooth"
"""

import json
import typing
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from typing import Any, Generic, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from xtrain.errors import PluginError
from xtrain.system import entry_points

T = TypeVar("T")

PLACEHOLDER = "xtrain-parts"
"""In a JSON Schema what stands for one of the parts of a sort; see `recipe.schema`."""


class Parts(Generic[T]):
    """The parts of one sort; as an annotation, the type of a field that holds one of them.

    Args:
        title: what the sort is called in the JSON Schema, such as `Layer`.
        group: of the entry points, such as `xtrain.layers`; empty where no other package may add one.
        tag: the field that selects one: `name` or `op`.
        needs: the members that a part must have.
        fits: says of a class whether it may stand here; by default every one may.

    """

    def __init__(
        self,
        title: str,
        group: str,
        tag: str,
        needs: Sequence[str],
        fits: Callable[[Any], bool] = lambda kind: True,
    ) -> None:
        self.title, self.group, self.tag = title, group, tag
        self._needs, self._fits = needs, fits
        self._own: dict[str, type[T]] = {}

    def register(self, kind: type[T]) -> type[T]:
        """Make a part one of ours; stands as a decorator where their order is that of one file."""
        self._own.update(dict.fromkeys(tags(kind), kind))
        return kind

    def only(self, title: str, fits: Callable[[Any], bool]) -> "Parts[T]":
        """The same parts, but those alone that fit."""
        fewer = Parts[T](title, self.group, self.tag, self._needs, fits)
        fewer._own = self._own
        return fewer

    @property
    def own(self) -> dict[str, type[T]]:
        """Ours, by what selects them."""
        return {tag: kind for tag, kind in self._own.items() if self._fits(kind)}

    def offered(self) -> dict[str, str]:
        """Those of other packages, by name: which package offers each. Nothing is imported."""
        found = entry_points.offered(self.group) if self.group else {}
        return {
            name: ", ".join(map(entry_points.package, entries))
            for name, entries in found.items()
            if name not in self._own
        }

    def names(self) -> list[str]:
        """What can be selected: ours first."""
        return [*self.own, *self.offered()]

    def keys(self, name: str) -> dict[str, Any]:
        """The keys that one of ours takes besides its name, with their defaults."""
        members = getattr(self._own[name], "__dataclass_fields__").values()  # noqa: B009
        return {field.name: field.default for field in members if field.name != self.tag}

    def having(self, key: str) -> list[str]:
        """Those of ours that take a key."""
        return [name for name in self.own if key in self.keys(name)]

    def find(self, name: str) -> type[T] | None:
        """The class of a part; None where there is none of that name.

        `PluginError` names the package that offers one which does not load or is no part.
        """
        if name in self._own:
            return self.own.get(name)
        offered = self.offered()
        if name not in offered:
            return None
        kind = entry_points.loaded(self.group, name)
        if problem := self._problem(kind, name):
            raise PluginError(f"{offered[name]} offers {name!r}, which {problem}")
        return typing.cast(type[T], kind) if self._fits(kind) else None

    def _is_one(self, kind: type, name: Any) -> bool:
        """True for the class of a part of this sort, be it one that no package offers."""
        known = kind is self._own.get(name) if name in self._own else not self._problem(kind, name)
        return known and self._fits(kind) and (bool(self.group) or name in self._own)

    def _problem(self, kind: Any, name: str) -> str:
        if not (isinstance(kind, type) and is_dataclass(kind) and hasattr(kind, "__pydantic_validator__")):
            return "is not a class made by xtrain.frozen"
        if name not in tags(kind):
            return f"is not selected by {name!r}: its {self.tag} must be Literal[{name!r}]"
        known = {*dir(kind), *kind.__dataclass_fields__}
        lacking = [member for member in self._needs if member not in known]
        return f"lacks {', '.join(lacking)}" if lacking else ""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._validated)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {PLACEHOLDER: self.title}

    def _validated(self, given: Any) -> Any:
        """A part from a section's plain values, or a part as it is."""
        if is_dataclass(given) and not isinstance(given, type):
            if self._is_one(type(given), getattr(given, self.tag, None)):
                return given
            raise PydanticCustomError("part", f"is no {self.title.lower()}")
        if not isinstance(given, dict):
            raise PydanticCustomError("part", f'should be a table with {self.tag} = "..."')
        name = given.get(self.tag)
        if name is None:
            raise PydanticCustomError("part_untold", "{tag} is missing", {"tag": self.tag})
        try:
            kind = self.find(name) if isinstance(name, str) else None
        except PluginError as error:
            raise PydanticCustomError(
                "part_broken", "{problem}", {"tag": self.tag, "name": name, "problem": error.problem}
            ) from error
        if kind is None:
            context = {"tag": self.tag, "name": name, "allowed": self.names()}
            raise PydanticCustomError("part_unknown", "unknown", context)
        # As JSON, because strictness there still lets objects become dataclasses and arrays tuples.
        return getattr(kind, "__pydantic_validator__").validate_json(json.dumps(given))  # noqa: B009


def tags(kind: Any) -> tuple[Any, ...]:
    """The values that can select a class: those its `name` or `op` is a Literal of."""
    hints = typing.get_type_hints(kind) if is_dataclass(kind) else {}
    return tuple(tag for key in ("name", "op") for tag in typing.get_args(hints.get(key)))


def parts_of(kind: Any) -> Parts[Any] | None:
    """The parts that a field's type stands for, None for any other type."""
    return next((each for each in getattr(kind, "__metadata__", ()) if isinstance(each, Parts)), None)
