"""Where each backend lives: in this environment, or in one of its own.

Frameworks want other versions of what they share, so a backend's calls may go to the interpreter of another
environment. That is named by the user alone: `$XTRAIN_PYTHON_NAME`, else the configuration; nothing that lies
in a run, a recipe or the current folder is asked. What runs there is this very xtrain.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from xtrain.errors import BackendError
from xtrain.homes import config
from xtrain.system.isolated import Interpreter, isolated, isolated_in

P = ParamSpec("P")
T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def names() -> list[str]:
    """Backends that the configuration or a variable sends to another environment, there or not."""
    known = dict.fromkeys((*config.read(), *config.named()))
    return [name for name in known if _named(name)]


def find(backend: str) -> Path | None:
    """The interpreter of a backend that lives elsewhere, None for one that lives here.

    Raises:
        BackendError: the path that is named leads to no file.
        UsageError: the configuration can't be read.

    """
    named = _named(backend)
    if named is None:
        return None
    path, source = named
    return executable(path, f"backend {backend}: its Python by {source}, {path},", _remedy(backend))


def call(backend: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`function(*args, **kwargs)` in a process of its own, in the environment where the backend lives."""
    path = find(backend)
    if path is None:
        return isolated(function, *args, **kwargs)
    return call_by(path, backend, _remedy(backend), function, *args, **kwargs)


def interpreter(backend: str) -> Interpreter | None:
    """The Python of the environment where a backend lives, None for this one's."""
    path = find(backend)
    if path is None:
        return None
    return _interpreter(path, backend, _remedy(backend))


def call_by(
    path: Path, backend: str, remedy: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """The same by an interpreter, whatever is configured; in its process the backend lives there.

    Args:
        path: of the interpreter.
        backend: the name.
        remedy: what to do where it is no Python that works.

    """
    try:
        return isolated_in(_interpreter(path, backend, remedy), function, *args, **kwargs)
    except BackendError as error:
        if error.where is None:  # what is missing is missing there
            where = f"in the environment of {path}"
            raise type(error)(error.problem, where=where, remedy=error.remedy) from error
        raise


def _interpreter(path: Path, backend: str, remedy: str) -> Interpreter:
    """A Python in whose process the backend lives, whatever is configured."""
    return Interpreter(path, remedy, backend, {config.variable(backend): ""})


def _named(backend: str) -> tuple[Path, object] | None:
    """The path that is named for a backend, and what names it."""
    told = config.asked(backend)
    if told is not None:
        return (told, f"${config.variable(backend)}") if told != Path() else None
    path = config.read().get(backend)
    return None if path is None else (path, config.path())


def check_name(backend: str) -> None:
    """`BackendError` for what is no name of a backend."""
    if not _NAME.fullmatch(backend):
        raise BackendError(
            f"{backend!r} is no name of a backend", remedy="letters, digits, _, . and - make one"
        )


def executable(path: Path, what: str, remedy: str) -> Path:
    """The interpreter that a path means: a file, or the folder of an environment that has one.

    Links are not resolved: by the path of its link an interpreter knows its environment.
    """
    path = Path(os.path.abspath(path.expanduser()))
    inside = Path("Scripts", "python.exe") if os.name == "nt" else Path("bin", "python")
    for found in (path, path / inside):
        if os.path.isfile(found):  # unlike Path.is_file it takes what can't be looked into
            return found
    problem = f"has no {inside}" if os.path.isdir(path) else "is not there"
    raise BackendError(f"{what} {problem}", remedy=remedy)


def _remedy(backend: str) -> str:
    """What to do about a Python that is named for a backend, by what names it."""
    if config.asked(backend) is not None:
        return f"unset {config.variable(backend)}, or point it to an environment that has the backend"
    return (
        f"make an environment with xtrain backends --install {backend}, name another with "
        f"xtrain backends --python {backend}=PATH, or forget it with xtrain backends --forget {backend}"
    )
