"""The Python API: what the command line does, in a call."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from xtrain import homes, plugins
from xtrain.errors import UsageError
from xtrain.export import weights
from xtrain.export.weights import Converted
from xtrain.recipe import Job, Recipe, job_of
from xtrain.runs.run import Run, locate
from xtrain.spec import Precision
from xtrain.system.isolated import isolated
from xtrain.training import session
from xtrain.training.assembly import Options, chosen
from xtrain.training.distributed import Joining
from xtrain.training.observers.anything import adapted
from xtrain.training.observers.progress import progress
from xtrain.training.observers.relay import relayed
from xtrain.training.session import Outcome

P = ParamSpec("P")
T = TypeVar("T")

AnyRecipe = Recipe | Mapping[str, Any] | str | Path


def run(
    recipe: AnyRecipe | None = None,
    *,
    backend: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    observers: Iterable[Any] = (),
    out: str | Path | None = None,
    resume: Run | str | Path | None = None,
    data_dir: str | Path | None = None,
    quiet: bool = False,
    processes: int = 1,
    exact: bool = False,
    deadline: float = 300.0,
) -> Run:
    """Train a recipe, or go on with a run, and return the run.

    Where this process has loaded another framework already, or its settings, the training happens in a
    process of its own. Observers stay in this process all the same; they are told on a thread then.

    Args:
        recipe: a `Recipe`, a mapping with the same keys, a path, or the name of a shipped one; None with
            `resume`.
        backend: its name; by default as on the command line.
        device: `auto`, `cpu`, `gpu[:i]` (or `cuda[:i]`), or what else the backend has.
        threads: how many the framework may use; by default the backend's choice.
        epochs: instead of the recipe's `loop.epochs`.
        seed: instead of the recipe's.
        overrides: values by dotted key, such as `{"optimizer.lr": 0.1}`; with `resume`, of `loop` only.
        observers: objects with some of the methods of `Observer`, which are told what happens.
        out: the run directory; by default one below `runs/`.
        resume: a run, its directory, or one of its checkpoint folders.
        data_dir: where data sets are looked for first.
        quiet: no progress.
        processes: how many train together, started by the framework's own launcher on this machine; the
            numbers are those of one process, up to the order in which they are added.
        exact: that order too is one process's, at some cost.
        deadline: seconds that a process waits for the others.

    Raises:
        UsageError: wrong use; a recipe that can't be run is a `RecipeError`.
        XtrainError: the training failed; what an observer raises is raised as it is.

    """
    if (recipe is None) == (resume is None):
        raise UsageError("give a recipe to train, or resume=")
    if not isinstance(observers, Iterable):
        raise UsageError("observers is one object", remedy="give a list: observers=[mine]")
    watching = [*([] if quiet else [progress()]), *adapted(observers)]
    changes = {**(overrides or {}), **_given(epochs, seed)}
    place, name = locate(resume) if resume is not None else (None, "last")
    job = place.job_with(changes) if place else job_of(recipe, changes)  # type: ignore[arg-type]  # one of the two is given
    options, _ = chosen(_options(backend, device, threads, data_dir), place)
    if plugins.placed(options.backend).size > 1:
        problem = "a launcher has started this process, and xtrain.run starts processes of its own"
        raise UsageError(
            problem, remedy="start the command with it: -m xtrain run RECIPE; or give processes="
        )
    options = replace(options, processes=processes, joining=Joining(deadline, exact))
    call = isolated if processes == 1 and _occupied(options, job) else _here
    with relayed(watching) if call is isolated else nullcontext(watching) as told:
        options = replace(options, observers=told)
        if place:
            call(_resume, place, name, options, job)
            return place
        return call(_train, job, options, Path(out) if out else None)


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

    It happens in a process of its own where this one has loaded another framework, as in `run`.

    Args:
        run: a run, or its directory.
        backend: its name; by default the one that trained last.
        checkpoint: `last`, `best` or `step-N`.
        device: `auto`, or a device of the backend, such as `cpu` or `gpu:0`.
        threads: how many the framework may use; by default as the run had.
        data_dir: where data sets are looked for first.
        precision: by default the run's own.

    """
    place = run if isinstance(run, Run) else Run(run)
    options, _ = chosen(_options(backend, device, threads, data_dir), place)
    call = isolated if _occupied(options, place.job) else _here
    sums = call(session.evaluate_run, place, checkpoint, options, precision)
    return {"loss": sums.loss, "accuracy": sums.accuracy}


def convert(
    source: Run | str | Path,
    target: str | Path,
    recipe: AnyRecipe | None = None,
    *,
    weights_only: bool = False,
    force: bool = False,
) -> Converted:
    """Write a model in the format of the suffix of `target`, with the state of its optimizer.

    Formats are `.pth` and `.pt` (PyTorch), `.pdparams` (Paddle), `.ckpt` (MindSpore), `.safetensors`, and
    `.onnx`, which is written only. Nothing that a file contains is run.

    Args:
        source: a run, its directory, one of its checkpoint folders, or a file.
        target: a file that is not there yet.
        recipe: whose model and optimizer a file holds; a run has its own.
        weights_only: leave the optimizer state out.
        force: replace `target`.

    Raises:
        UsageError: a format that nobody knows, no recipe, a target that exists.
        CheckpointError: a damaged source, or one of another model or optimizer.

    """
    path = source.path if isinstance(source, Run) else source
    chosen_ = None if recipe is None else job_of(recipe).recipe
    return weights.convert(path, target, chosen_, weights_only=weights_only, force=force)


def _given(epochs: int | None, seed: int | None) -> dict[str, Any]:
    """What is given of two keys, by dotted key."""
    values = {"loop.epochs": epochs, "seed": seed}
    return {key: value for key, value in values.items() if value is not None}


def _options(backend: str | None, device: str, threads: int | None, data_dir: str | Path | None) -> Options:
    return Options(backend or "", device, threads, Path(data_dir) if data_dir else None)


def _occupied(options: Options, job: Job) -> bool:
    """True where this process can't become the backend's any more, and has to."""
    if homes.find(options.backend):
        return False
    backend = plugins.load(options.backend, options.device, options.threads)
    return plugins.occupied(backend, backend.environment(job.model, options.threads))


def _train(job: Job, options: Options, out: Path | None) -> Run:
    return _made(session.train(job, options, out))


def _resume(run: Run, name: str, options: Options, job: Job) -> Run:
    return _made(session.resume(run, name, options, job))


def _made(outcome: Outcome | None) -> Run:
    assert outcome is not None  # this process follows no other
    return outcome.run


def _here(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The call in this process, as `isolated` makes it in another."""
    return function(*args, **kwargs)
