"""Known deviations: rows that a backend fails, and why, as its package states them in conformance.toml.

    [[deviation]]
    row = "test_layers.py::test_output[lstm-training]"
    reason = "the framework's kernel adds its two biases in another order"
    link = "https://github.com/OWNER/PROJECT/issues/1"

The file lies in the package that the backend's entry point names. A row that is listed and passes fails:
what is mended has to leave the list.
"""

import tomllib
from collections import Counter
from dataclasses import dataclass, fields
from typing import Any

from xtrain import plugins
from xtrain.errors import UsageError

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
    path = plugins.beside(backend, FILE)
    if path is None:
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
