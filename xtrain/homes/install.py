"""An environment for one backend, made with uv below the user's data directory."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import platformdirs

from xtrain.errors import UsageError, XtrainError, suggest
from xtrain.homes import executable
from xtrain.system import package
from xtrain.system.distribution import clone, package_command
from xtrain.system.files import remove


def folder(backend: str) -> Path:
    """Where the environment of a backend is made."""
    return platformdirs.user_data_path("xtrain") / "envs" / backend


def install(backend: str) -> Path:
    """Make the environment anew, with this very xtrain and the extra of the backend's name.

    Its Python is of this one's version, unless `$UV_PYTHON` names another.

    Returns:
        its interpreter.

    Raises:
        UsageError: there is no such extra, or no uv.
        XtrainError: uv fails; what it said stands above.

    """
    extras = package.distribution().metadata.get_all("Provides-Extra") or []
    if backend not in extras:
        problem = f"{package.distribution().name} has no extra {backend!r} that would install a backend"
        remedy = f"{suggest(backend, extras)}; an environment that exists is named by --python {backend}=PATH"
        raise UsageError(problem, remedy=remedy)
    uv = shutil.which("uv")
    if uv is None:
        raise UsageError(
            "an environment is made with uv, which is not installed",
            remedy=f"{package_command('uv')}; or make one yourself and name it by --python {backend}=PATH",
        )
    place = folder(backend)
    place.parent.mkdir(parents=True, exist_ok=True)
    python = [] if os.environ.get("UV_PYTHON") else ["--python", sys.executable]
    remove(place)  # of an earlier version, or half done
    where = clone() or place.parent  # this clone's settings hold, never those of the current folder
    _run([uv, "venv", *python, str(place)], where)
    made = executable(place, f"the Python of {place}", f"look at what uv left in {place}")
    _run([uv, "pip", "install", "--python", str(made), *package.requirement(backend)], where)
    return made


def _run(command: list[str], where: Path) -> None:
    own = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    if code := subprocess.run(command, cwd=where, env=own, check=False).returncode:
        raise XtrainError(
            f"{' '.join(command[:3])} ended with code {code}",
            remedy="what it said stands above; nothing of the configuration was changed",
        )
