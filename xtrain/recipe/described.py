"""What the docstrings of a recipe's sections say of them and of their keys: for the schema and for drafts."""

import inspect
import re
from typing import Any

_ENTRY = re.compile(r"^(\w+(?:, \w+)*): (.*)$")


def summary(kind: type) -> str:
    """The first paragraph of a class's docstring, in one line."""
    return " ".join(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].split())


def keys(kind: Any) -> dict[str, str]:
    """What `Args:` says of each field, those of the classes that `kind` is made from among them."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        found |= _arguments(owner.__dict__.get("__doc__") or "")
    return found


def _arguments(text: str) -> dict[str, str]:
    _, _, rest = inspect.cleandoc(text).partition("Args:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in inspect.cleandoc(rest.split("\n\n")[0]).splitlines():
        if entry := _ENTRY.match(line):
            names = entry[1].split(", ")
            found |= dict.fromkeys(names, entry[2])
        else:
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found
