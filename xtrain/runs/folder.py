"""The files of a run directory: made whole, swept, its checkpoints found by name. No link leads out of it."""

import json
import os
import re
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from xtrain.errors import UsageError, XtrainError
from xtrain.runs import checkpoint as checkpoints
from xtrain.system.files import is_temporary, remove, sync_folder, temporary, write_new
from xtrain.system.locks import Held, NoLocksError, locked, watched

_FILES = r"recipe\.toml|run\.json|metrics\.jsonl|curves\.png"
_NEW = "new-"
_POINTERS = ("last", "best")
_TRIES, _PAUSE = 5, 0.01


def is_run(path: Path) -> bool:
    """True for a directory that a run was made in."""
    return all(os.path.isfile(path / name) for name in ("recipe.toml", "run.json"))


@contextmanager
def made(path: Path, contents: Mapping[str, str]) -> Iterator[Held]:
    """A new run directory with these files and an empty `checkpoints`, there by one rename and held.

    A kill at any moment leaves either nothing at `path` or all of it; what a kill leaves beside it is swept
    when a run is made under that name again. `UsageError` where `path` is there and not an empty directory.
    """
    beside = temporary(path.absolute(), _NEW)
    with ExitStack() as held_until:
        try:
            _check_free(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            _sweep_beside(path.absolute())
            beside.mkdir()
            held = held_until.enter_context(_held(beside))  # from here on nobody sweeps it away
            _fill(beside, contents)
            _move(beside, path)
        except OSError as error:
            raise XtrainError(
                f"the run directory can't be made: {error.strerror}",
                where=path,
                remedy="make room or make its folder writable, or choose another --out",
            ) from error
        yield held.renamed(path)


def _fill(beside: Path, contents: Mapping[str, str]) -> None:
    try:
        (beside / "checkpoints").mkdir()
        for name, content in contents.items():
            write_new(beside / name, content)
        sync_folder(beside)
    except OSError:
        remove(beside)
        raise


def _move(beside: Path, path: Path) -> None:
    try:
        if path.is_dir():
            path.rmdir()
        beside.rename(path)
    except OSError:
        remove(beside)
        _check_free(path)  # another process may have been quicker
        raise
    sync_folder(path.parent)


@contextmanager
def _held(folder: Path) -> Iterator[Held]:
    try:
        with locked(folder) as held:
            yield held
    except NoLocksError:
        with watched(folder) as held:
            yield held


def _check_free(path: Path) -> None:
    if not os.path.lexists(path):
        return
    if path.is_dir() and not any(path.iterdir()):
        if os.path.samefile(path, os.curdir):  # which the rename would take from under this process
            raise UsageError("is the working directory", where=path, remedy="choose another --out")
        return
    going_on = f", or go on with: xtrain run --resume {path}" if is_run(path) else ""
    raise UsageError(
        "exists and is not an empty directory", where=path, remedy=f"choose another --out{going_on}"
    )


def _sweep_beside(path: Path) -> None:
    """Remove what killed processes left of runs of this name; what a living one holds stays."""
    for entry in path.parent.iterdir():
        if is_temporary(entry.name, re.escape(path.name), _NEW) and not entry.is_symlink():
            with suppress(OSError), locked(entry):  # BlockingIOError: its process is alive
                remove(entry)


def sweep(path: Path) -> None:
    """Remove what only xtrain itself names and a killed session left half-done; follow no link.

    A checkpoint that was being replaced goes back to its name where the new one did not get there.
    """
    for entry in list(path.iterdir()):
        if is_temporary(entry.name, _FILES):
            remove(entry)
    folder = path / "checkpoints"
    check_own(folder)
    for entry in list(folder.iterdir()) if folder.is_dir() else []:
        if is_temporary(entry.name, checkpoints.NAME, checkpoints.ASIDE) and not entry.is_symlink():
            name = entry.name.removeprefix(f".{checkpoints.ASIDE}").partition(".")[0]
            if not os.path.lexists(folder / name):
                entry.rename(folder / name)
            else:
                remove(entry)
        elif is_temporary(entry.name, f"{checkpoints.NAME}|last|best"):
            remove(entry)


def check_own(folder: Path) -> None:
    """`XtrainError` where the folder of checkpoints is a link: what lies behind it is not the run's."""
    if folder.is_symlink():
        raise XtrainError(
            "is a link, and xtrain writes and deletes only inside a run's own directory",
            where=folder,
            remedy="put the folder itself there, for instance by cp -rL",
        )


@contextmanager
def reached(folder: Path) -> Iterator[None]:
    """Tells what the system refuses of a folder of a run: `XtrainError`."""
    try:
        yield
    except OSError as error:
        raise XtrainError(
            f"can't be used: {error}",
            where=folder,
            remedy="its permissions, or the disk, must let you use it",
        ) from error


def checkpoint(folder: Path, name: str) -> Path | None:
    """The folder of a checkpoint by its name or by `last` or `best`; None where there is none."""
    for _ in range(_TRIES):
        named = checkpoints.pointed(folder / name) if name in _POINTERS else name
        if named is None or not re.fullmatch(checkpoints.NAME, named):
            return None
        if (folder / named).is_dir():
            return folder / named
        time.sleep(_PAUSE)  # a training beside may be replacing it, or has removed it and moved the pointer
    return None


def is_pointer(path: Path) -> bool:
    """True for the path of `last` or `best` of a run."""
    return path.name in _POINTERS and path.absolute().parent.name == "checkpoints"


def newest(folder: Path) -> Path | None:
    """The checkpoint of the most steps whose files are all those that were written."""
    return next((path for path in reversed(checkpoints.listed(folder)) if checkpoints.is_whole(path)), None)


def names(folder: Path) -> list[str]:
    """The names by which checkpoints can be asked for."""
    pointers = [name for name in _POINTERS if checkpoint(folder, name)]
    return [*pointers, *(path.name for path in checkpoints.listed(folder))]


def toml(path: Path) -> dict[str, Any]:
    """A TOML file's values; nothing where it can't be read, which its reader has told."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}


def dumped(value: Mapping[str, Any]) -> str:
    """A table as JSON for people, in UTF-8 also where a path or an argument came in bytes of another kind."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    return text.encode(errors="surrogateescape").decode(errors="replace")
