"""From plain values to frozen ones: pydantic's findings, told by key, value and what is allowed."""

import json
import re
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from xtrain.errors import RecipeError, suggest
from xtrain.spec.parts import parts_of

T = TypeVar("T")

_UNKNOWN_KEY = {"unexpected_keyword_argument", "extra_forbidden"}
_LONGEST = 200  # letters of a value that an error shows
_SELECTION = {"part_untold", "part_unknown", "part_broken"}
_MISSING = {"missing", "missing_argument", "missing_keyword_only_argument"}


def validated(kind: type[T], values: Mapping[str, Any], where: object) -> T:
    """Make a `kind` from plain values. `RecipeError` tells every problem, `where` what they came from."""
    try:
        # As JSON, because strictness there still lets objects become dataclasses and arrays tuples.
        text = json.dumps(dict(values), default=_foreign)
    except RecursionError:
        raise RecipeError("is nested too deeply", where=where) from None
    except (ValueError, TypeError) as error:  # a number of too many digits, a key that is no text
        problem = str(error).partition(";")[0]  # without Python's advice to its programmers
        raise RecipeError(f"can't be read: {problem}", where=where) from None
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        problems = _merged([_problem(kind, values, found) for found in error.errors(include_url=False)])
    if len(problems) == 1:
        raise RecipeError(problems[0], where=where)
    raise RecipeError("\n  ".join([f"{len(problems)} problems", *problems]), where=where)


def _foreign(value: Any) -> dict[str, str]:
    """Stands for what no key takes, such as a date of TOML: no text, or it would pass for one."""
    return {type(value).__name__: str(value)}


def _merged(problems: list[tuple[str, str]]) -> list[str]:
    """One line for each key and value: a union has a complaint from each of its members."""
    complaints: dict[str, list[str]] = {}
    for key, complaint in problems:
        complaints.setdefault(key, []).append(complaint)
    return [f"{key}: {', or '.join(dict.fromkeys(several))}" for key, several in complaints.items()]


def _problem(kind: Any, values: Any, found: ErrorDetails) -> tuple[str, str]:
    """The key with its value, and what is wrong with it."""
    if found["type"] == "json_invalid":
        return "the values", f"can't be read: {found['ctx']['error']}"
    *parents, last = found["loc"] or ("",)
    if found["type"] in _UNKNOWN_KEY:
        keys, owner, more = _descend(kind, values, parents)
        members = _members(owner, _at(values, parents))
        others = parts.having(str(last)) if more and (parts := parts_of(owner)) else []
        problem = f"only for {', '.join(others)}" if others else "unknown key"
        return (
            f"{_dotted([*keys, last])} = {_shown(found['input'])}",
            f"{problem}; {suggest(str(last), [*_fields(members), *more])}",
        )
    keys, _, _ = _descend(kind, values, found["loc"])
    key = _dotted(keys)
    if found["type"] in _MISSING:
        return key, "is missing"
    if found["type"] in _SELECTION:
        return _selection(key, found)
    message = re.sub("^(Input|String|Value error,) ", "", found["msg"])
    return f"{key} = {_shown(found['input'])}", message


def _selection(key: str, found: ErrorDetails) -> tuple[str, str]:
    """What is wrong with the name of a part; see `spec.parts`."""
    context = found["ctx"]
    if found["type"] == "part_untold":
        return key, f"{context['tag']} is missing"
    named, name = f"{key}.{context['tag']} = {context['name']!r}", str(context["name"])
    if found["type"] == "part_broken":
        return named, str(context["problem"])
    if not context["allowed"]:
        return named, "unknown; no package that is installed offers one"
    return named, f"unknown; {suggest(name, context['allowed'])}"


def _shown(value: Any) -> str:
    """The value as the user wrote it; of a long one its beginning."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _descend(
    kind: Any, values: Any, location: typing.Sequence[str | int]
) -> tuple[list[str | int], Any, list[str]]:
    """The keys of a location as the user wrote them, the type there, and keys of its owner's section.

    The user never wrote the name of a field whose keys stand in the section of its owner (`inline`), nor
    pydantic's own name for a member of a union.
    """
    keys: list[str | int] = []
    more: list[str] = []
    for part in location:
        members = _members(kind, values)
        if len(members) > 1 and not any(map(is_dataclass, members)):
            continue
        inline = any(part == getattr(member, "inline", None) for member in members)
        more = _fields(members, without=str(part)) if inline else []
        keys += [] if inline else [part]
        kind, values = _child(members, part), _at(values, [part])
    return keys, kind, more


def _at(values: Any, location: typing.Sequence[str | int]) -> Any:
    """What stands there; None where there is nothing."""
    for part in location:
        if isinstance(values, Mapping):
            values = values.get(part)
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            values = values[part]
        else:
            return None
    return values


def _fields(members: list[Any], without: str = "") -> list[str]:
    """The keys of the one class that is meant; none where several are."""
    known = [field.name for member in members[:1] if is_dataclass(member) for field in fields(member)]
    return [name for name in known if len(members) == 1 and name != without]


def _members(kind: Any, values: Any) -> list[Any]:
    """The types of a union without None; any other type alone. `Annotated` is looked through.

    Of parts it is the one that the values name.
    """
    while hasattr(kind, "__metadata__"):
        if parts := parts_of(kind):
            name = _at(values, [parts.tag])
            found = parts.find(name) if isinstance(name, str) else None
            return [found] if found else []
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) in (UnionType, typing.Union):
        return [member for member in typing.get_args(kind) if member is not type(None)]
    return [kind]


def _child(members: list[Any], part: str | int) -> Any:
    for member in members:
        hints = typing.get_type_hints(member, include_extras=True) if is_dataclass(member) else {}
        if part in hints:
            return hints[str(part)]
        if isinstance(part, int) and typing.get_args(member):
            arguments = typing.get_args(member)
            return arguments[0] if arguments[-1] is Ellipsis else arguments[min(part, len(arguments) - 1)]
    return object


def _dotted(keys: typing.Sequence[str | int]) -> str:
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text
