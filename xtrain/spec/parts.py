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
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import asdict, fields, is_dataclass
from importlib.metadata import EntryPoint
from typing import Any, Generic, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import (
    CoreSchema,
    PydanticCustomError,
    ValidationError,
    core_schema,
    to_jsonable_python,
)

from xtrain.errors import PluginError, XtrainError
from xtrain.spec.tensors import ShapeError
from xtrain.system import entry_points

T = TypeVar("T")

_OURS = __name__.partition(".")[0]
_TOML = (str, int, float, bool)

PLACEHOLDER = "xtrain-parts"
"""In a JSON Schema what stands for one of the parts of a sort; see `recipe.schema`."""


class Parts(Generic[T]):
    """The parts of one sort; as an annotation, the type of a field that holds one of them.

    Args:
        title: what the sort is called in the JSON Schema, such as `Layer`.
        group: of the entry points, such as `xtrain.layers`; empty where no other package may add one.
        tag: the field that selects one: `name` or `op`.
        needs: the members that a part must have.
        base: the class of `xtrain.extend` that has most of them; empty where there is none.

    """

    taken: Set[str] = frozenset()
    """Keys that are the section's own, so that no part may have them."""
    unfit: str = ""
    """What an error says of a part that may not stand here."""

    def __init__(
        self,
        title: str,
        group: str,
        tag: str,
        needs: Sequence[str],
        base: str = "",
    ) -> None:
        self.title, self.group, self.tag = title, group, tag
        self._needs, self._base = needs, base
        self._fits: Callable[[Any], bool] = lambda kind: True
        self._own: dict[str, type[T]] = {}

    def register(self, kind: type[T]) -> type[T]:
        """Make a part one of ours; stands as a decorator where their order is that of one file."""
        self._own.update(dict.fromkeys(tags(kind), kind))
        return kind

    def only(self, title: str, fits: Callable[[Any], bool], unfit: str) -> "Parts[T]":
        """The same parts, but those alone that fit; `unfit` is what an error says of another one."""
        fewer = Parts[T](title, self.group, self.tag, self._needs)
        fewer._own, fewer._fits, fewer.unfit = self._own, fits, unfit
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
        """What can be selected: ours first. Where not every part fits, the others are imported to see."""
        return [*self.own, *(name for name in self.offered() if not self.unfit or self._may_be_one(name))]

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
        kind = self._own.get(name) or self._loaded(name)
        return kind if kind and self._fits(kind) else None

    def _loaded(self, name: str) -> type[T] | None:
        """The class that another package offers, whether or not it fits."""
        offered = self.offered()
        if name not in offered:
            return None
        kind = entry_points.loaded(self.group, name)
        if problem := self._problem(kind, name):
            raise PluginError(f"{offered[name]} offers {name!r}, which {problem}")
        return typing.cast(type[T], kind)

    def _may_be_one(self, name: str) -> bool:
        """True of one that does not load, too: it is told where it is named."""
        with suppress(PluginError):
            return self.find(name) is not None
        return True

    def _is_one(self, kind: type, name: Any) -> bool:
        """True for the class of a part of this sort, be it one that no package offers."""
        known = kind is self._own.get(name) if name in self._own else not self._problem(kind, name)
        return known and self._fits(kind) and (bool(self.group) or name in self._own)

    def _problem(self, kind: Any, name: str) -> str:
        if not (isinstance(kind, type) and is_dataclass(kind) and hasattr(kind, "__pydantic_validator__")):
            return "is not a class made by xtrain.extend.frozen"
        if name not in tags(kind):
            return f"is not selected by {name!r}: its {self.tag} must be Literal[{name!r}]"
        known = {*dir(kind), *kind.__dataclass_fields__}
        if lacking := [member for member in self._needs if member not in known]:
            remedy = f"; derive it from xtrain.extend.{self._base}" if self._base else ""
            return f"lacks {', '.join(lacking)}{remedy}"
        if taken := [key for key in kind.__dataclass_fields__ if key in self.taken]:
            return f"has keys that are the section's own, {', '.join(taken)}: call them otherwise"
        return ""

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
                return self._kept(given)
            raise PydanticCustomError("part", f"is no {self.title.lower()}")
        if not isinstance(given, dict):
            raise PydanticCustomError("part", f'should be a table with {self.tag} = "..."')
        name = given.get(self.tag)
        if name is None:
            raise PydanticCustomError("part_untold", "{tag} is missing", {"tag": self.tag})
        try:
            kind = self.find(name) if isinstance(name, str) else None
            if kind:
                return self._kept(_read(kind, given))
            if self.unfit and isinstance(name, str) and self._loaded(name):
                raise PluginError(self.unfit)
        except PluginError as error:
            told = "; ".join(filter(None, (error.problem, error.remedy)))
            raise self._broken(name, told) from error
        context = {"tag": self.tag, "name": name, "allowed": self.names()}
        raise PydanticCustomError("part_unknown", "unknown", context)

    def _kept(self, part: Any) -> Any:
        """The part; refused where a run's recipe.toml would not give it back, so that a resume differs."""
        if type(part) in self._own.values():
            return part
        try:
            again = _read(type(part), plain(asdict(part)))
            keys = [field.name for field in fields(part)]
            pairs = [(key, getattr(part, key), getattr(again, key)) for key in keys]
            lost = [
                f"{key} = {value!r} would be {other!r} there" for key, value, other in pairs if value != other
            ]
        except Exception as error:  # noqa: BLE001 - whatever the types of another package's keys may raise
            lost = [" ".join(str(error).split())]
        if lost:
            raise self._broken(getattr(part, self.tag), f"can't be kept in recipe.toml: {lost[0]}")
        return part

    def _broken(self, name: str, problem: str) -> PydanticCustomError:
        context = {"tag": self.tag, "name": name, "problem": problem}
        return PydanticCustomError("part_broken", "{problem}", context)


def _read(kind: Any, given: Mapping[str, Any]) -> Any:
    """A part from plain values."""
    # As JSON, because strictness there still lets objects become dataclasses and arrays tuples.
    text = json.dumps(given)
    with OwnCode("which can't be made", kind, passing=ValidationError):
        return kind.__pydantic_validator__.validate_json(text)


def plain(value: Any) -> Any:
    """TOML's own types; what is None is left out."""
    if isinstance(value, dict):
        return {str(plain(key)): plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, tuple | list):
        return [plain(inner) for inner in value]
    if isinstance(value, Set):
        return sorted(map(plain, value), key=json.dumps)  # a set's own order is another in each process
    return value if type(value) in _TOML else to_jsonable_python(value)


def tags(kind: Any) -> tuple[Any, ...]:
    """The values that can select a class: those its `name` or `op` is a Literal of."""
    hints = typing.get_type_hints(kind) if is_dataclass(kind) else {}
    return tuple(tag for key in ("name", "op") for tag in typing.get_args(hints.get(key)))


def offer_of(part: object) -> EntryPoint | None:
    """The entry point that offers a part or its class; None where no package does, as of ours."""
    kind = part if isinstance(part, type) else type(part)
    ours = kind.__module__.partition(".")[0] == _OURS
    return None if ours else entry_points.offering(kind, map(str, tags(kind)))


def package_of(part: object) -> str:
    """Name and version of the package that offers a part or its class; empty where none does, as of ours."""
    offer = offer_of(part)
    return entry_points.package(offer) if offer else ""


class OwnCode:
    """Where parts run code of their own: what that of another package raises is told with the package.

    What our own parts raise passes as it is, and so does what is meant for the user.

    Args:
        doing: what is done there, such as `whose load() fails`.
        parts: whose code runs, or their classes.
        passing: what they may raise besides.

    """

    __slots__ = ("_doing", "_parts", "_passing")

    def __init__(self, doing: str, *parts: object, passing: type[Exception] = XtrainError) -> None:
        self._doing, self._parts = doing, parts
        self._passing = (XtrainError, ShapeError, MemoryError, passing)

    def __enter__(self) -> None:
        """Nothing is to be done before."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """`PluginError` of what no part should raise."""
        if not isinstance(error, Exception | SystemExit) or isinstance(error, self._passing):
            return
        offers = [
            f"{package} offers {getattr(part, 'op', getattr(part, 'name', part))!r}"
            for part in self._parts
            if (package := package_of(part))
        ]
        if offers:
            raise PluginError(
                f"{' and '.join(offers)}, {self._doing}: {type(error).__name__}: {error}",
                remedy="tell its authors; --debug shows where it comes from",
            ) from error


def parts_of(kind: Any) -> Parts[Any] | None:
    """The parts that a field's type stands for, None for any other type."""
    return next((each for each in getattr(kind, "__metadata__", ()) if isinstance(each, Parts)), None)
