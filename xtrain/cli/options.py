"""Options that several commands share, and how their values become a recipe."""

import tomllib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from xtrain import plugins
from xtrain.errors import UsageError, XtrainError
from xtrain.recipe import Job, find, load_recipe
from xtrain.system.files import write_atomically

F = TypeVar("F", bound=Callable[..., Any])


def recipe_options(command: F) -> F:
    """--set, --seed."""
    for option in (
        click.option("--seed", type=click.IntRange(min=0), help="Seed of all random choices."),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="SECTION.KEY=VALUE",
            help="Change a key of the recipe (a TOML value; a bare word is a string); repeatable.",
        ),
    ):
        command = option(command)
    return command


def device_options(default: str) -> Callable[[F], F]:
    """--backend, whose default the help tells in these words; --device, --threads, --data-dir."""

    def decorate(command: F) -> F:
        return click.option("--backend", help=f"Default: {default}.")(place_options(command))

    return decorate


def place_options(command: F) -> F:
    """--device, --threads, --data-dir."""
    for option in (
        click.option(
            "--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Where data sets lie."
        ),
        click.option("--threads", type=click.IntRange(min=1), help="Default: the backend's choice."),
        click.option(
            "--device", default="auto", show_default=True, help="auto, cpu, gpu or cuda, gpu:1, ascend:0, ..."
        ),
    ):
        command = option(command)
    return command


def read_job(source: str | Path, changes: Mapping[str, Any]) -> Job:
    """A recipe with the command line's changes, over its data."""
    return load_recipe(source, changes).bind(where=find(source))


def read_recipe(source: str | Path, settings: tuple[str, ...], seed: int | None) -> Job:
    """A recipe with the values of `recipe_options`, over its data."""
    return read_job(source, overrides(settings, seed))


def overrides(settings: tuple[str, ...], seed: int | None, **loop: int | None) -> dict[str, Any]:
    """Values by dotted key; `loop` holds keys of that section, None where not given."""
    given = dict(_setting(text) for text in settings)
    if seed is not None:
        given["seed"] = seed
    return given | {f"loop.{key}": value for key, value in loop.items() if value is not None}


def backends_of(text: str | None, device: str) -> list[str]:
    """Names from a list with commas, without one all that are installed; what is wrong is said at once."""
    if not text:
        found = [backend for backend in plugins.loadable() if plugins.installed(backend)]
        return [backend.name for backend in sorted(found, key=lambda backend: backend.rank)]
    names = [name.strip() for name in text.split(",")]
    if len(set(names)) < len(names):
        raise UsageError(f"--backends {text}: one is named twice")
    for name in names:
        plugins.check(name, device)
    return names


def folder_of_now(kind: str, name: str) -> Path:
    """Where a command leaves what it makes when it is not told."""
    return Path(kind) / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"


def write_text(path: Path, text: str) -> None:
    """Write what a command makes, beside and renamed. `XtrainError` where the disk refuses."""
    try:
        write_atomically(path, text)
    except OSError as error:
        raise XtrainError(f"can't be written: {error.strerror}", where=path) from error


def make_folder(folder: Path) -> None:
    """Make sure that results have a place."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise XtrainError(f"the folder can't be made: {error.strerror}", where=folder) from error


def _setting(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise UsageError(f"--set {text}: give it as section.key=value")
    try:
        parsed = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):
        return key.strip(), value.strip()
    return key.strip(), parsed["value"] if len(parsed) == 1 else value
