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

T = TypeVar("T")

_UNKNOWN_KEY = {"unexpected_keyword_argument", "extra_forbidden"}
_LONGEST = 200  # letters of a value that an error shows
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
        problems = _merged([_problem(kind, found) for found in error.errors(include_url=False)])
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


def _problem(kind: Any, found: ErrorDetails) -> tuple[str, str]:
    """The key with its value, and what is wrong with it."""
    if found["type"] == "json_invalid":
        return "the values", f"can't be read: {found['ctx']['error']}"
    *parents, last = found["loc"] or ("",)
    if found["type"] in _UNKNOWN_KEY:
        keys, owner = _descend(kind, parents)
        allowed = [field.name for field in fields(owner)] if is_dataclass(owner) else []
        return (
            f"{_dotted([*keys, last])} = {_shown(found['input'])}",
            f"unknown key; {suggest(str(last), allowed)}",
        )
    keys, _ = _descend(kind, found["loc"])
    key = _dotted(keys)
    if found["type"] in _MISSING:
        return key, "is missing"
    context = found.get("ctx", {})
    if found["type"] == "union_tag_not_found":
        return key, f"{str(context['discriminator']).strip(chr(39))} is missing"
    if found["type"] == "union_tag_invalid":
        tags = [tag.strip("' ") for tag in str(context["expected_tags"]).split(",")]
        tag = str(context["tag"])
        discriminator = str(context["discriminator"]).strip("'")
        return f"{key}.{discriminator} = {tag!r}", f"unknown; {suggest(tag, tags)}"
    message = re.sub("^(Input|String|Value error,) ", "", found["msg"])
    return f"{key} = {_shown(found['input'])}", message


def _shown(value: Any) -> str:
    """The value as the user wrote it; of a long one its beginning."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _descend(kind: Any, location: typing.Sequence[str | int]) -> tuple[list[str | int], Any]:
    """The keys of a location as the user wrote them, and the type found there.

    pydantic puts the tag of a union into its locations; the user never wrote that.
    """
    keys: list[str | int] = []
    for part in location:
        members = _members(kind)
        tagged = [member for member in members if part in tags(member)]
        if len(members) > 1 and tagged:
            kind = tagged[0]
            continue
        if len(members) > 1 and not any(map(is_dataclass, members)):
            continue  # pydantic's own name for one of the members
        keys.append(part)
        kind = _child(members, part)
    members = _members(kind)
    return keys, members[0] if len(members) == 1 else kind


def _members(kind: Any) -> list[Any]:
    """The types of a union without None; any other type alone. `Annotated` is looked through."""
    while hasattr(kind, "__metadata__"):
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) in (UnionType, typing.Union):
        return [member for member in typing.get_args(kind) if member is not type(None)]
    return [kind]


def tags(member: Any) -> tuple[Any, ...]:
    """The values that can select a member of a union: those its `name` or `op` is a Literal of."""
    hints = typing.get_type_hints(member) if is_dataclass(member) else {}
    return tuple(tag for key in ("name", "op") for tag in typing.get_args(hints.get(key)))


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
