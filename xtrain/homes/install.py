"""An environment for one backend, made with uv below the user's data directory."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from xtrain.errors import UsageError, XtrainError
from xtrain.homes import executable
from xtrain.system import package
from xtrain.system.distribution import clone, install_command, lacking, package_command, python_for, uv
from xtrain.system.files import remove


def folder(backend: str) -> Path:
    """Where the environment of a backend is made."""
    return platformdirs.user_data_path("xtrain") / "envs" / backend


@contextmanager
def install(backend: str) -> Iterator[Path]:
    """Make the environment anew, with this very xtrain and the extra of the backend's name; give its Python.

    The extras that are installed here come too: what works here, such as pictures, works there.
    Its Python is of this one's version, else of the newest that the extra has wheels for, unless `$UV_PYTHON`
    names another. The block tries it: where that fails, or the making does, an environment that was there
    before comes back.

    Raises:
        UsageError: there is no such extra, or no wheel of it, or no uv.
        XtrainError: the folder can't be written, or uv fails; what it said stands above.

    """
    yourself = f"make an environment yourself and name it: xtrain backends --python {backend}=PATH"
    if backend not in package.extras():
        problem = f"{package.distribution().name} has no extra {backend!r} that would install a backend"
        raise UsageError(problem, remedy=yourself)
    version = python_for(backend) if lacking(backend) else sys.executable
    if version is None:
        raise UsageError(install_command(backend), remedy=yourself)
    tool = uv()
    if tool is None:
        problem = "an environment is made with uv, which is not installed"
        raise UsageError(problem, remedy=f"{package_command('uv')}; or {yourself}")
    place, wanted = folder(backend), package.requirement(backend, *package.carried())
    python = [] if os.environ.get("UV_PYTHON") else ["--python", version]
    where = clone() or place.parent  # this clone's settings hold, never those of the current folder
    with _replaced(place, f"set XDG_DATA_HOME to a folder of yours, or {yourself}"):
        _run([tool, "venv", *python, str(place)], where)
        made = executable(place, f"the Python of {place}", f"look at what uv left in {place}")
        _run([tool, "pip", "install", "--python", str(made), *wanted], where)
        yield made


@contextmanager
def _replaced(place: Path, remedy: str) -> Iterator[None]:
    """An empty folder in place of one that is put aside: it goes at the end, or comes back on any failure."""
    old = place.with_name(f"{place.name}.old")
    try:
        try:
            if os.path.exists(old):  # an earlier attempt was killed
                remove(place)
            elif os.path.exists(place):
                place.rename(old)
            place.mkdir(parents=True)
        except OSError as error:
            raise XtrainError(f"can't be written: {error.strerror}", where=place, remedy=remedy) from error
        yield
    except BaseException:  # Ctrl-C too
        if os.path.exists(old):
            remove(place)
            old.rename(place)
        raise
    remove(old)


def _run(command: list[str], where: Path) -> None:
    own = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    if code := subprocess.run(command, cwd=where, env=own, check=False).returncode:
        raise XtrainError(
            f"{' '.join(command[:3])} ended with code {code}",
            remedy="what it said stands above; configuration and environment are as they were",
        )
