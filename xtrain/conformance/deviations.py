"""Known deviations: rows that a backend fails, and why, as its package states them in conformance.toml.

    [[deviation]]
    row = "test_layers.py::test_output[lstm-training]"
    reason = "the framework's kernel adds its two biases in another order"
    link = "https://github.com/OWNER/PROJECT/issues/1"

The file lies in the package that the backend's entry point names. A row that is listed and passes fails:
what is mended has to leave the list.
"""

import importlib.metadata
import importlib.util
import tomllib
from collections import Counter
from dataclasses import dataclass, fields
from importlib.resources import files
from typing import Any

from xtrain.errors import UsageError
from xtrain.plugins import GROUP

FILE = "conformance.toml"


@dataclass(frozen=True)
class Deviation:
    """One row of the suite that is known to fail.

    Args:
        row: its name, as the report has it.
        reason: what the framework does otherwise.
        link: where the framework's authors are told of it.

    """

    row: str
    reason: str
    link: str


def known(backend: str) -> dict[str, Deviation]:
    """Those that a backend's package states, by row. `UsageError` where the file is not as it should be."""
    (entry, *_) = importlib.metadata.entry_points(group=GROUP, name=backend)
    spec = importlib.util.find_spec(entry.module.partition(".")[0])
    if spec is None or not spec.submodule_search_locations:
        return {}  # a module of one file has no place for it
    path = files(spec.name) / FILE
    if not path.is_file():
        return {}
    try:
        listed = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"can't be read: {error}", where=path) from error
    rows = listed.pop("deviation", [])
    if not isinstance(rows, list):
        raise UsageError(f"deviation = {rows!r:.120} is no list", where=path, remedy="give [[deviation]]")
    found = [_deviation(path, each) for each in rows]
    if listed:
        raise UsageError(
            f"has {', '.join(listed)}, which is no key", where=path, remedy="give [[deviation]] only"
        )
    if twice := [row for row, count in Counter(each.row for each in found).items() if count > 1]:
        raise UsageError(f"has {', '.join(twice)} twice", where=path, remedy="take one of them out")
    return {each.row: each for each in found}


def _deviation(path: Any, given: Any) -> Deviation:
    wanted = [field.name for field in fields(Deviation)]
    whole = isinstance(given, dict) and sorted(given) == sorted(wanted)
    if not whole or not all(isinstance(value, str) and value.strip() for value in given.values()):
        remedy = f"it has {', '.join(wanted)}, all of them texts, none empty"
        raise UsageError(f"{given!r:.120} is no deviation", where=path, remedy=remedy)
    return Deviation(**given)
