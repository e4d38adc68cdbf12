"""The Python API: what the command line does, in a call."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from rich.console import Console

from xtrain import homes, plugins
from xtrain.errors import UsageError
from xtrain.recipe import Job, Recipe, find, load_recipe, parse
from xtrain.runs.run import Run, locate
from xtrain.spec import Precision
from xtrain.system.isolated import isolated
from xtrain.training import session
from xtrain.training.assembly import Options, chosen
from xtrain.training.observers.progress import progress

P = ParamSpec("P")
T = TypeVar("T")


def run(
    recipe: Recipe | str | Path | None = None,
    *,
    backend: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    data_dir: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Train a recipe, or go on with a run, and return the run.

    Where this process has loaded another framework already, or its settings, the training happens in a
    process of its own.

    Args:
        recipe: a `Recipe`, a path, or the name of a shipped one; None with `resume`.
        backend: its name; by default as on the command line.
        device: `auto`, `cpu`, `gpu[:i]` (or `cuda[:i]`), or what else the backend has.
        threads: how many the framework may use; by default the backend's choice.
        overrides: values by dotted key, such as `{"optimizer.lr": 0.1}`; with `resume`, of `loop` only.
        out: the run directory; by default one below `runs/`.
        resume: a run directory or one of its checkpoint folders.
        data_dir: where data sets are looked for first.
        quiet: no progress.

    """
    if (recipe is None) == (resume is None):
        raise UsageError("give a recipe to train, or resume=")
    place, name = locate(resume) if resume is not None else (None, "last")
    job = _job(recipe, place, overrides or {})
    asked = Options(backend or "", device, threads, Path(data_dir) if data_dir else None)
    options, _ = chosen(asked, place)
    call = isolated if _occupied(options, job) else _here
    if place:
        call(_resume, place, name, options, job, quiet)
        return place
    return call(_train, job, options, Path(out) if out else None, quiet)


def evaluate(
    run: Run | str | Path,
    *,
    backend: str | None = None,
    checkpoint: str = "last",
    device: str = "auto",
    threads: int | None = None,
    data_dir: str | Path | None = None,
    precision: Precision | None = None,
) -> dict[str, float]:
    """`{"loss": ..., "accuracy": ...}` of a run's checkpoint on the test split, under any backend.

    In the run's own precision, if no other is given.
    Runs in this process: `UsageError` where another backend's framework is loaded already.
    """
    place = run if isinstance(run, Run) else Run(run)
    asked = Options(backend or "", device, threads, Path(data_dir) if data_dir else None)
    options, _ = chosen(asked, place)
    if _occupied(options, place.job):
        raise UsageError(
            f"this process has loaded another framework than {options.backend}'s, or other settings",
            remedy=f"in a process of its own: xtrain eval {place.path} --backend {options.backend}",
        )
    sums = session.evaluate_run(place, checkpoint, options, precision)
    return {"loss": sums.loss, "accuracy": sums.accuracy}


def _job(recipe: Recipe | str | Path | None, place: Run | None, overrides: Mapping[str, Any]) -> Job:
    if place:
        return place.job_with(overrides)
    if isinstance(recipe, Recipe):
        return parse(recipe.to_dict(), "recipe", overrides).bind(where="recipe")
    assert recipe is not None
    return load_recipe(recipe, overrides).bind(where=find(recipe))


def _occupied(options: Options, job: Job) -> bool:
    """True where this process can't become the backend's any more, and has to."""
    if homes.find(options.backend):
        return False
    backend = plugins.load(options.backend, options.device, options.threads)
    return plugins.occupied(backend, backend.environment(job.model, options.threads))


def _train(job: Job, options: Options, out: Path | None, quiet: bool) -> Run:
    return session.train(job, _observed(options, quiet), out).run


def _resume(run: Run, name: str, options: Options, job: Job, quiet: bool) -> Run:
    return session.resume(run, name, _observed(options, quiet), job).run


def _observed(options: Options, quiet: bool) -> Options:
    """With progress on the screen of the process that trains."""
    return options if quiet else replace(options, observers=[progress(Console())])


def _here(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The call in this process, as `isolated` makes it in another."""
    return function(*args, **kwargs)
