"""The run directory: what lies in it, read anew each time, and what a session writes there."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtrain import data
from xtrain.errors import CheckpointError, RecipeError, UsageError, XtrainError
from xtrain.recipe import Job, Recipe, load_recipe
from xtrain.runs import about, folder, picture
from xtrain.runs import checkpoint as checkpoints
from xtrain.runs.about import About
from xtrain.runs.checkpoint import Checkpoint
from xtrain.runs.metrics import Record, Written, is_as_written, trimmed
from xtrain.runs.records import Records
from xtrain.spec import ModelSpec
from xtrain.system.files import identity, write_atomically
from xtrain.system.locks import Held, NoLocksError, locked, watched

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NOTES = logging.getLogger("xtrain.note")
_TRIES = 100
_FREE = ("loop.epochs", "loop.log_every", "loop.checkpoint_every", "loop.keep_last")


class Run(Records):
    """A run on disk. What it says of itself is read anew each time.

    Args:
        path: its directory. `UsageError` where that is none.

    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(Path(path))
        self._held: Held | None = None
        if not folder.is_run(self.path):
            raise UsageError(
                "is not a run directory (no recipe.toml and run.json in it)",
                where=self.path,
                remedy="give the directory that `xtrain run` named in its last line",
            )

    @classmethod
    @contextmanager
    def created(
        cls, path: Path, job: Job, data_hash: str, identity: Mapping[str, Any], session: Record
    ) -> Iterator["Run"]:
        """Make a new run directory, whole and held from its first moment.

        Args:
            path: where; an empty directory may be there.
            job: what is trained.
            data_hash: SHA-256 of the data's arrays.
            identity: backend, device, threads, precision, processes.
            session: facts of the session that begins.

        Raises:
            UsageError: something is there already.
            XtrainError: the disk refuses.

        """
        said = {**about.made(job, data_hash, identity), "sessions": [about.opened(session)]}
        contents = {
            "recipe.toml": job.recipe.to_toml(),
            "run.json": folder.dumped(said),
            "metrics.jsonl": "",
        }
        with folder.made(path, contents) as held:
            run = cls(path)
            run._held = held
            try:
                yield run
            finally:
                run._held = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Held by a session while it writes; the system lets go of it when a process dies."""
        try:
            with locked(self.path) as self._held:
                yield
        except BlockingIOError:
            raise UsageError(
                "another process is training this run", where=self.path, remedy="wait for it, or end it"
            ) from None
        except NoLocksError:
            note(f"{self.path} lies on a file system without locks: let no second process train this run")
            with watched(self.path) as self._held:
                yield
        finally:
            self._held = None

    @property
    def in_place(self) -> bool:
        """False where the held directory was moved or removed."""
        return not (self._held and self._held.moved())

    def check_place(self) -> None:
        """`XtrainError` where what a session would write would lie elsewhere.

        The held directory was moved or removed, or its folder of checkpoints is a link.
        """
        folder.check_own(self.checkpoints)
        if not self.in_place:
            raise XtrainError(
                "the run directory was moved or removed while it was trained",
                where=self.path,
                remedy="what was saved before lies where it is now; go on from there with --resume",
            )

    @property
    def about(self) -> About:
        """What run.json says. `UsageError` where it is damaged."""
        return About(self.path / "run.json")

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return self.recipe_with({})

    def setting(self, key: str) -> Any:
        """A value of the resolved recipe by its dotted key, also without the packages of its parts."""
        try:
            values = self.recipe.to_dict()
        except RecipeError:
            if not self.about.uninstalled:
                raise
            values = folder.toml(self.path / "recipe.toml")
        return reduce(getitem, key.split("."), values)

    def recipe_with(self, overrides: Mapping[str, Any]) -> Recipe:
        """The recipe a resume goes on with: as the run began, but for how long and how often."""
        foreign = [key for key in overrides if key not in _FREE]
        if foreign:
            raise UsageError(
                f"a resume goes on as the run began, {foreign[0]} can't be changed: "
                f"only {', '.join(_FREE)} can",
                remedy=f'begin a new run from its weights: --set init_from="{self.path}"',
            )
        path = self.path / "recipe.toml"
        if not self.about.format and "keep_last" not in folder.toml(path).get("loop", {}):
            overrides = {"loop.keep_last": "all", **overrides}  # what format 0 meant by saying nothing
        try:
            return load_recipe(path, overrides)
        except RecipeError as error:
            if missing := self.about.uninstalled:
                remedy = f"install what the run was made with: {missing}"
                raise RecipeError(error.problem, where=error.where, remedy=remedy) from error
            raise

    @property
    def job(self) -> Job:
        """The recipe over its data's facts, for which no data is read."""
        return self.job_with({})

    def job_with(self, overrides: Mapping[str, Any]) -> Job:
        """The job a resume goes on with; see `recipe_with`. `UsageError` where recipe.toml is another's."""
        recipe, said = self.recipe_with(overrides), self.about
        job = recipe.bind(said.facts or data.info(recipe.data.dataset), where=self.path / "recipe.toml")
        said.check_recipe(job.recipe, None)
        return job

    def set_recipe(self, recipe: Recipe) -> None:
        """Keep what a resume changed, such as more epochs."""
        self.check_place()
        write_atomically(self.path / "recipe.toml", recipe.to_toml())

    @property
    def sessions(self) -> list[Record]:
        """One entry for each time the run was started or resumed."""
        return self.about.sessions

    def open_session(self, facts: Record, made: Record) -> None:
        """Add an entry to run.json; a run of format 0 learns what `made`, of `runs.about`, says."""
        self._set_about(self.about.with_session(facts, made))

    def close_session(self, exit_: str, seconds: float, step: int) -> None:
        """Say how the last session ended; nothing where the directory is no longer in its place."""
        if self.in_place:
            self._set_about(self.about.with_end(exit_, seconds, step))

    def _set_about(self, values: Record) -> None:
        self.check_place()
        write_atomically(self.path / "run.json", folder.dumped(values))

    def plot(self) -> "Figure":
        """Losses and accuracies by step, as a matplotlib figure; a notebook shows it."""
        return picture.shown_figure([self])

    def check_history(self) -> None:
        """Say aloud where the records are not those that the last checkpoint knows of."""
        with folder.reached(self.checkpoints):
            last = folder.checkpoint(self.checkpoints, "last") or folder.newest(self.checkpoints)
        try:
            written = checkpoints.written(last) if last else None
        except CheckpointError as error:
            note(f"{self.metrics_path} can't be checked: {error.where}: {error.problem}")
            return
        if written and not is_as_written(self.metrics_path, written):
            note(f"{self.metrics_path}: its records are not those that were written (its hash differs)")

    def cut(self, written: Written | None, step: int, epoch: int) -> None:
        """Drop the records that a resume will write again.

        Args:
            written: what a checkpoint says of metrics.jsonl; None where it says nothing, as in format 0.
            step, epoch: where the run stands.

        """
        self.check_place()
        if step and not self.metrics_path.exists():
            note(f"{self.metrics_path} is missing: the run goes on without the records before step {step}")
        write_atomically(self.metrics_path, trimmed(self.metrics_path, written, step, epoch))

    @property
    def checkpoints(self) -> Path:
        """The folder of `step-N`, `last` and `best`."""
        return self.path / "checkpoints"

    def checkpoint(self, name: str = "last") -> Path:
        """The folder of a checkpoint: `last`, `best` or `step-N`.

        Where `last` is missing or leads nowhere it is the newest whole checkpoint, and that is said aloud.
        """
        with folder.reached(self.checkpoints):
            found = folder.checkpoint(self.checkpoints, name)
            newest = folder.newest(self.checkpoints) if found is None and name == "last" else None
            known = ", ".join(folder.names(self.checkpoints)) or "none"
        if newest:
            note(f"{self.checkpoints / 'last'} names no checkpoint: {newest.name} is the newest whole one")
            return newest
        if found is None:
            raise UsageError(f"has no checkpoint {name!r}", where=self.path, remedy=f"it has: {known}")
        return found

    def load(self, name: str, model: ModelSpec) -> tuple[Path, Checkpoint]:
        """A checkpoint by its name, whole, also where a training beside goes on and removes old ones."""
        for _ in range(_TRIES):
            path = self.checkpoint(name)
            before = identity(path)
            try:
                found = checkpoints.load(path, model)
            except CheckpointError:
                if before and identity(path) == before:
                    raise
            else:
                if found.bound:
                    self.about.check_hash(found.bound.recipe)
                    self.about.check_backend(found.bound.backend)
                return path, found
        raise CheckpointError(f"{name} is replaced faster than it can be read", where=self.checkpoints)

    def sweep(self) -> None:
        """Mend what a killed session left half-done. Only the one who holds the lock may do that."""
        self.check_place()
        with folder.reached(self.path):
            folder.sweep(self.path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"


def locate(given: Run | str | Path) -> tuple[Run, str]:
    """A run and the name of a checkpoint, from a run, its directory, or one of its checkpoint folders."""
    if isinstance(given, Run):
        return given, "last"
    path = Path(given)
    place = path if path.parent.name == "checkpoints" else path.absolute()
    if place.parent.name == "checkpoints" and folder.is_run(place.parent.parent):
        return Run(place.parent.parent), place.name
    return Run(path), "last"


def note(text: str) -> None:
    """Say something that the user should know and that is no error; the command line shows it."""
    _NOTES.warning(text)
