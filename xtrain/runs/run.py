"""The run directory: resolved recipe, one entry per session, metrics, checkpoints; written and read back."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from xtrain.errors import UsageError, XtrainError
from xtrain.recipe import Job, Recipe, load_recipe
from xtrain.system.files import write_atomically

Record = dict[str, Any]


class Run:
    """A run on disk.

    Args:
        path: its directory. `UsageError` where that is none.

    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not is_run(self.path):
            raise UsageError(
                "is not a run directory (no recipe.toml and run.json in it)",
                where=self.path,
                remedy="give the directory that `xtrain run` named in its last line",
            )

    @classmethod
    def create(cls, path: Path, recipe: Recipe) -> "Run":
        """Make a new run directory; one that holds something is refused."""
        try:
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                going_on = f", or go on with: xtrain run --resume {path}" if is_run(path) else ""
                raise UsageError(
                    "exists and is not an empty directory",
                    where=path,
                    remedy=f"choose another --out{going_on}",
                )
            (path / "checkpoints").mkdir(parents=True)
            write_atomically(path / "recipe.toml", recipe.to_toml())
            write_atomically(path / "run.json", _dump({"name": recipe.name, "sessions": []}))
        except OSError as error:
            raise XtrainError(f"the run directory can't be made: {error.strerror}", where=path) from error
        return cls(path)

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return load_recipe(self.path / "recipe.toml")

    @property
    def job(self) -> Job:
        """The recipe over the data that it was trained on."""
        return self.recipe.bind(where=self.path)

    def recipe_with(self, overrides: Mapping[str, Any]) -> Recipe:
        """The recipe a resume goes on with: as the run began, but for keys of `loop`."""
        foreign = [key for key in overrides if not key.startswith("loop.")]
        if foreign:
            raise UsageError(
                f"a resume goes on as the run began, {foreign[0]} can't be changed: only keys of loop can"
            )
        return load_recipe(self.path / "recipe.toml", overrides)

    def set_recipe(self, recipe: Recipe) -> None:
        """Keep what a resume changed, such as more epochs."""
        write_atomically(self.path / "recipe.toml", recipe.to_toml())

    @property
    def sessions(self) -> list[Record]:
        """One entry for each time the run was started or resumed."""
        try:
            sessions = json.loads((self.path / "run.json").read_text(encoding="utf-8"))["sessions"]
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"run.json is damaged: {error}", where=self.path) from error
        return list(sessions)

    def open_session(self, facts: Record) -> None:
        """Add an entry; the one before it, if it never ended, was killed."""
        sessions = self.sessions
        if sessions and sessions[-1]["exit"] == "running":
            sessions[-1]["exit"] = "killed"
        self._set_sessions([*sessions, {"started": _now(), **facts, "exit": "running"}])

    def close_session(self, exit_: str, seconds: float, step: int) -> None:
        """Say how the last session ended."""
        *before, last = self.sessions
        ended = {**last, "exit": exit_, "ended": _now(), "seconds": round(seconds, 3), "to_step": step}
        self._set_sessions([*before, ended])

    def _set_sessions(self, sessions: list[Record]) -> None:
        write_atomically(
            self.path / "run.json", _dump({"name": json.loads(self._text())["name"], "sessions": sessions})
        )

    def _text(self) -> str:
        return (self.path / "run.json").read_text(encoding="utf-8")

    @property
    def metrics_path(self) -> Path:
        """JSON lines, as they were recorded."""
        return self.path / "metrics.jsonl"

    @property
    def history(self) -> list[Record]:
        """Every whole record of `metrics.jsonl`; a line that a kill cut short is left out."""
        if not self.metrics_path.exists():
            return []
        records = []
        for line in self.metrics_path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:
                continue
        return records

    @property
    def train(self) -> list[Record]:
        """Records of kind train: epoch, step, loss, lr."""
        return [record for record in self.history if record["kind"] == "train"]

    @property
    def epochs(self) -> list[Record]:
        """Records of kind epoch: losses, accuracies and seconds."""
        return [record for record in self.history if record["kind"] == "epoch"]

    def cut(self, keep: Callable[[Record], bool]) -> None:
        """Drop the records that a resume will write again."""
        lines = [json.dumps(record) + "\n" for record in self.history if keep(record)]
        write_atomically(self.metrics_path, "".join(lines))

    @property
    def checkpoints(self) -> Path:
        """The folder of `step-N`, `last` and `best`."""
        return self.path / "checkpoints"

    def checkpoint(self, name: str = "last") -> Path:
        """The folder of a checkpoint: `last`, `best` or `step-N`."""
        path = self.checkpoints / name
        if not path.is_dir():
            found = sorted(entry.name for entry in self.checkpoints.glob("[!.]*"))
            raise UsageError(
                f"has no checkpoint {name!r}", where=self.path, remedy=f"it has: {', '.join(found) or 'none'}"
            )
        return path.resolve()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Held by a session while it writes; the system lets go of it when a process dies."""
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(
                "another process is training this run", where=self.path, remedy="wait for it, or end it"
            ) from None
        except OSError as error:
            raise XtrainError(f"can't be written: {error.strerror}", where=self.path) from error
        try:
            yield
        finally:
            lock.release()

    def sweep(self) -> None:
        """Mend what a killed session left half-done. Only the one who holds the lock may do that."""
        for leftover in self.path.glob(".*.*.[0-9]*"):  # what write_atomically writes beside
            leftover.unlink()
        for aside in self.checkpoints.glob(".old-*"):
            name = aside.name.removeprefix(".old-").partition(".")[0]
            if not (self.checkpoints / name).exists():
                aside.rename(self.checkpoints / name)
        for leftover in self.checkpoints.glob(".*"):
            shutil.rmtree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"


def is_run(path: Path) -> bool:
    """True for a directory that a run was made in."""
    return all(os.path.isfile(path / name) for name in ("recipe.toml", "run.json"))


def locate(path: str | Path) -> tuple[Run, str]:
    """A run and the name of a checkpoint, from a run directory or from one of its checkpoint folders."""
    path = Path(path)
    folder = path if path.parent.name == "checkpoints" else path.absolute()
    if folder.parent.name == "checkpoints" and folder.is_dir():
        return Run(folder.parent.parent), folder.name
    return Run(path), "last"


def _dump(value: Record) -> str:
    return json.dumps(value, indent=2) + "\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
