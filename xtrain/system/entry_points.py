"""What other packages offer by entry point: found by metadata alone, imported when it is asked for."""

import sys
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from xtrain.errors import PluginError


def offered(group: str) -> dict[str, list[EntryPoint]]:
    """The entry points of a group by name; a name that several packages offer has several."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=group):
        if entry not in found.setdefault(entry.name, []):  # a package may be found twice on the path
            found[entry.name].append(entry)
    return found


def loaded(group: str, name: str) -> Any:
    """Import what is offered under a name.

    Raises:
        PluginError: nothing or more than one thing is offered, or it does not load; the package is named.

    """
    entries = offered(group).get(name, [])
    if not entries:
        raise PluginError(f"no package offers {name!r} in {group}")
    if len(entries) > 1:
        packages = ", ".join(map(package, entries))
        raise PluginError(
            f"{len(entries)} packages offer {name!r}: {packages}", remedy="uninstall all but one"
        )
    try:
        return entries[0].load()
    except (Exception, SystemExit) as error:  # whatever a package's own code may raise
        problem = (
            f"{package(entries[0])} offers {name!r}, which does not load: {type(error).__name__}: {error}"
        )
        raise PluginError(problem, remedy="install it anew, or uninstall it") from error


def offering(found: object, names: Iterable[str]) -> EntryPoint | None:
    """The entry point that offers an object under one of these names; None where no package does."""
    for name in names:
        for entry in entry_points(name=name):
            if getattr(sys.modules.get(entry.module), entry.attr, None) is found:
                return entry
    return None


def package(entry: EntryPoint) -> str:
    """Name and version of the package that an entry point belongs to."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
