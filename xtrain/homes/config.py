"""The user's own configuration, as far as it says where backends live: `config.toml`.

[backends.mindspore]
python = "/home/someone/.local/share/xtrain/envs/mindspore/bin/python"
"""

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import platformdirs

from xtrain.errors import UsageError, XtrainError
from xtrain.system.files import content, write_atomically

_VARIABLE = "XTRAIN_PYTHON_"


def path() -> Path:
    """Where it lies, whether or not it is there."""
    return platformdirs.user_config_path("xtrain") / "config.toml"


def variable(backend: str) -> str:
    """The environment variable that goes before the configuration: `XTRAIN_PYTHON_PADDLE`."""
    return _VARIABLE + re.sub(r"\W", "_", backend, flags=re.ASCII).upper()


def asked(backend: str) -> Path | None:
    """What the variable says: a path, an empty one for this environment; None where it is not set."""
    given = os.environ.get(variable(backend))
    return None if given is None else Path(given.strip())


def named() -> list[str]:
    """Backends that variables name, as far as their spelling can be told."""
    return [key.removeprefix(_VARIABLE).lower() for key in os.environ if key.startswith(_VARIABLE)]


def read() -> dict[str, Path]:
    """The interpreters by backend. `UsageError` where the file is not what it should be."""
    return {name: Path(entry["python"]) for name, entry in _backends(_load()).items() if "python" in entry}


def write(backend: str, python: Path | None) -> None:
    """Name a backend's interpreter, or forget it; comments of the file go."""
    import tomli_w  # noqa: PLC0415 - seldom needed

    pythons = {**read(), backend: python}
    values = {"backends": {name: {"python": str(each)} for name, each in pythons.items() if each}}
    try:
        path().parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path(), tomli_w.dumps(values))
    except OSError as error:
        remedy = f"set XDG_CONFIG_HOME to a folder of yours, or set {variable(backend)} alone"
        raise XtrainError(f"can't be written: {error.strerror}", where=path(), remedy=remedy) from error


def _load() -> dict[str, Any]:
    if not os.path.exists(path()):  # nor where its folder can't be entered: another user's says nothing here
        return {}
    try:
        return tomllib.loads(content(path()).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise _refused(f"can't be read: {getattr(error, 'strerror', None) or error}") from error


def _backends(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The table of backends, its entries checked."""
    _check_keys(values, "", "backends")
    table = values.get("backends", {})
    if not isinstance(table, dict):
        raise _refused(f"backends = {table!r:.80} is no table")
    for name, entry in table.items():
        if not isinstance(entry, dict):
            raise _refused(f"backends.{name} = {entry!r:.80} is no table")
        _check_keys(entry, f"backends.{name}.", "python")
        python = entry.get("python", "/")
        if not isinstance(python, str) or not Path(python).is_absolute() or "\0" in python:
            raise _refused(f"backends.{name}.python = {python!r:.80} is no absolute path")
    return table


def _check_keys(table: dict[str, Any], above: str, known: str) -> None:
    for key in table:
        if key != known:
            raise _refused(f"{above}{key} is no key, {above}{known} is one")


def _refused(problem: str) -> UsageError:
    return UsageError(
        problem, where=path(), remedy="mend the file, or remove it: it says where backends live"
    )
