"""`xtrain backends`: what is there, each backend asked in a process of its own."""

from concurrent.futures import ThreadPoolExecutor

import click

from xtrain import plugins
from xtrain.cli.tables import show
from xtrain.errors import BackendError, XtrainError
from xtrain.system.isolated import isolated


@click.command("backends")
def command() -> int:
    """List the backends: version, devices, precisions, and how to install what is missing."""
    with ThreadPoolExecutor() as pool:  # the threads only wait for processes
        rows = list(pool.map(_row, plugins.names()))
    show("backends", ("backend", "version", "devices", "precisions", "steps", "remarks"), rows)
    return 0


def _row(name: str) -> tuple[str, ...]:
    try:
        backend = plugins.load(name)
    except BackendError as error:
        return name, "broken", "", "", "", error.problem
    if not plugins.installed(backend):
        return name, "not installed", "", "", "", backend.install
    try:
        found = isolated(plugins.probe, name)
    except XtrainError as error:
        return name, "broken", "", "", "", error.problem
    except Exception as error:  # noqa: BLE001 - whatever a framework raises where it is broken
        return name, "broken", "", "", "", f"{type(error).__name__}: {error}"
    if found.problem:
        return name, "broken", "", "", "", found.problem
    remarks = "; ".join(f"{key}: {value}" for key, value in found.notes.items())
    lists = (", ".join(given) for given in (found.devices, found.precisions, found.modes))
    return name, found.version or "", *lists, remarks
