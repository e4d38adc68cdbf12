"""`xtrain backends`: what is there and where it lives, each backend asked in a process of its own."""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import click

from xtrain import homes, plugins
from xtrain.cli.tables import show
from xtrain.errors import BackendError, UsageError, XtrainError, suggest
from xtrain.homes import config
from xtrain.homes.install import folder, install
from xtrain.spec import Probe


@click.command("backends")
@click.option("--install", "made", metavar="NAME", help="Make an environment for a backend, with uv.")
@click.option("--python", "named", metavar="NAME=PATH", help="A backend lives where this Python does.")
@click.option("--forget", "forgotten", metavar="NAME", help="A backend lives here again.")
def command(made: str | None, named: str | None, forgotten: str | None) -> int:
    """List the backends: version, devices, precisions, where each lives, how to install what is missing.

    A backend lives in this environment, or in one of its own: then everything that is asked of it runs
    there, under the Python that is configured. $XTRAIN_PYTHON_NAME goes before the configuration; empty it
    means this environment.
    """
    if sum(given is not None for given in (made, named, forgotten)) > 1:
        raise UsageError("--install, --python and --forget: give one of them")
    if made is not None:
        _install(made)
    elif named is not None:
        _name(named)
    elif forgotten is not None:
        _forget(forgotten)
    else:
        _list()
    return 0


def _install(name: str) -> None:
    homes.check_name(name)
    if name not in plugins.names():
        raise BackendError(f"unknown backend {name!r}", remedy=suggest(name, plugins.names()))
    with install(name) as python:
        _settle(name, python, f"xtrain backends --install {name}")


def _name(text: str) -> None:
    name, sign, path = text.partition("=")
    if not sign or not path.strip():
        raise UsageError(f"--python {text}: give it as NAME=PATH")
    homes.check_name(name)
    remedy = "give the path of a Python, or the folder of its environment"
    python = homes.executable(Path(path.strip()), f"--python {text}: {path}", remedy)
    _settle(name, python, f"xtrain backends --python {name}={python}")


def _settle(name: str, python: Path, again: str) -> None:
    """Configure an interpreter that has the backend; nothing is changed where it has not."""
    other = f"make one with xtrain backends --install {name}, or name another Python"
    found = homes.call_by(python, name, other, plugins.probe, name)
    if found.problem:
        problem = f"backend {name} does not work there: {found.problem}"
        raise BackendError(problem, where=python, remedy=f"mend that, then: {again}")
    config.write(name, python)
    click.echo(f"{name} {found.version}, devices {', '.join(found.devices)}, lives in {python}")
    click.echo(f"kept in {config.path()}; xtrain backends --forget {name} takes it back")
    if config.asked(name) is not None:
        variable = config.variable(name)
        click.echo(f"${variable} is set and goes before it: unset {variable}")


def _forget(name: str) -> None:
    if name not in config.read():
        raise UsageError(f"{config.path()} does not say where backend {name} lives")
    config.write(name, None)
    made = folder(name)
    rest = f"; its environment is left in {made}" if os.path.isdir(made) else ""
    click.echo(f"{name} lives in this environment{rest}")


def _list() -> None:
    plugins.loadable()  # plugins are imported here, because threads below would import them side by side
    with ThreadPoolExecutor() as pool:  # the threads only wait for processes
        rows, below = zip(*pool.map(_row, plugins.known()), strict=True)
    headers = ("backend", "version", "devices", "precisions", "steps", "home", "remarks")
    show("backends", headers, rows)
    for line in chain.from_iterable(below):  # what is copied is not folded, as cells are
        click.echo(line)


def _row(name: str) -> tuple[tuple[str, ...], list[str]]:
    """A backend's cells, and the lines below the table: where it lives, what is wrong, what to do."""
    home, below = "", []
    try:
        if python := homes.find(name):
            home, below = "elsewhere", [f"{name} lives in {python}"]
        elif not plugins.installed(backend := plugins.load(name)):
            return (name, "not installed", "", "", "", "", ""), [f"{name}: {backend.install}"]
        found = homes.call(name, plugins.probe, name)
        problem = found.problem
    except XtrainError as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001 - whatever a framework raises where it is broken
        problem = f"{type(error).__name__}: {error}"
    if problem:
        return (name, "broken", "", "", "", home, ""), [*below, f"{name}: {problem}"]
    return (name, found.version or "", *_offers(found), home or "here", _remarks(found)), below


def _offers(found: Probe) -> list[str]:
    return [", ".join(given) for given in (found.devices, found.precisions, found.modes)]


def _remarks(found: Probe) -> str:
    return "; ".join(f"{key}: {value}" for key, value in found.notes.items())
