"""One session of a run: train, go on or evaluate, and write down what was."""

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from xtrain import homes, plugins
from xtrain.errors import UsageError, XtrainError
from xtrain.protocols import Backend
from xtrain.recipe import Job
from xtrain.runs import about
from xtrain.runs import checkpoint as checkpoints
from xtrain.runs.checkpoint import Bound, Checkpoint
from xtrain.runs.progress import Progress, Sums
from xtrain.runs.run import Run, note
from xtrain.spec import Precision, State
from xtrain.system.distribution import version
from xtrain.system.interrupt import Interrupt, listening
from xtrain.system.machine import usable_cores
from xtrain.system.travel import packed
from xtrain.training.assembly import Options, Parts, build, initial_state, load_data, open_backend
from xtrain.training.distributed import Ranks, joined
from xtrain.training.launch import in_processes
from xtrain.training.observers import Observer, Start
from xtrain.training.observers.curves import Curves
from xtrain.training.observers.metrics import MetricsFile
from xtrain.training.observers.named import Named
from xtrain.training.trainer import Store, Trainer, evaluate


@dataclass(frozen=True)
class Outcome:
    """How a session ended; `idle` says why there was nothing to do, where no session was opened."""

    run: Run
    finished: bool
    step: int
    idle: str = ""


def train(job: Job, options: Options, out: Path | None = None) -> Outcome | None:
    """Train from the start in a new run directory; where the backend lives elsewhere, there.

    None in a process that follows another, which writes the directory.
    """
    if options.processes > 1:
        path = out or new_path(job.recipe.name, options.backend)
        return in_processes(options, job, path, lambda told: (train, job, told, path))
    if homes.find(options.backend):
        return homes.call(options.backend, train, job, _travelling(options), out)
    with listening() as interrupt:
        weights = initial_state(job)  # what is wrong with `init_from` is said before a framework loads
        backend = open_backend(options, job.model, job.recipe.loop.precision)
        with joined(backend, options.joining) as ranks:
            arrays = load_data(job, options.data_dir)
            parts, data_hash = build(backend, job, arrays, weights), arrays.sha256()
            del arrays
            if not ranks.leads:
                _follow(job, parts, Progress(), interrupt, ranks)
                return None
            identity = _identity(job, backend, options, ranks)
            path = out or new_path(job.recipe.name, backend.name)
            facts = _facts(job, backend, options, Progress(), ranks)
            with Run.created(path, job, data_hash, identity, facts) as run:
                return _session(run, job, backend, parts, Progress(), options, interrupt, ranks)


def resume(run: Run, name: str, options: Options, job: Job) -> Outcome | None:
    """Go on in a run's directory from checkpoint `name`, or from the start where there is none yet.

    None in a process that follows another, which alone reads and writes the directory.

    Raises:
        UsageError: recipe.toml is not the one that the run was trained with; fewer epochs than are done.
        DataError: nor is the data.

    """
    if options.processes > 1:
        return in_processes(options, job, run.path, lambda told: (resume, run, name, told, job))
    if homes.find(options.backend):
        return homes.call(options.backend, resume, run, name, _travelling(options), job)
    with listening() as interrupt:
        if plugins.placed(options.backend).size == 1:
            return _resumed(run, name, options, job, interrupt, Ranks())
        backend = open_backend(options, job.model, job.recipe.loop.precision)
        with joined(backend, options.joining) as ranks:
            if ranks.leads:
                return _resumed(run, name, options, job, interrupt, ranks, backend)
            start: _Standing | None = ranks.from_first(lambda: None)
            if start is None:
                return None
            arrays = load_data(job, options.data_dir, start.data_hash)
            parts = build(backend, job, arrays, start.weights, start.optimizer)
            del arrays
            _follow(job, parts, start.progress, interrupt, ranks)
            return None


@dataclass(frozen=True)
class _Standing:
    """Where a run stands that goes on."""

    weights: State
    optimizer: State | None
    progress: Progress
    data_hash: str | None


def _resumed(
    run: Run,
    name: str,
    options: Options,
    job: Job,
    interrupt: Interrupt,
    ranks: Ranks,
    backend: Backend | None = None,
) -> Outcome:
    """The same in the process that reads and writes; `backend` where it is opened already."""
    with run.locked():
        run.sweep()
        start = _start(run, name, job)
        run.about.check_recipe(job.recipe, start.bound.recipe if start and start.bound else None)
        progress = start.progress if start else Progress()
        _check_epochs(job, progress)
        if _is_done(run, job, progress):
            with _written(run):  # a kill may have come between the last checkpoint and what follows it
                _mark_best(run, progress)
                _prune(run, job, progress)
            ranks.from_first(lambda: None)
            return Outcome(run, True, progress.step, _why_done(job, progress))
        _tell_epochs(run, job, progress)
        backend = backend or open_backend(options, job.model, job.recipe.loop.precision)
        arrays = load_data(job, options.data_dir, run.about.data_hash)
        weights, optimizer_state = (start.model, start.optimizer) if start else (initial_state(job), None)
        ranks.from_first(lambda: _Standing(weights, optimizer_state, progress, run.about.data_hash))
        parts = build(backend, job, arrays, weights, optimizer_state)
        data_hash = run.about.data_hash or arrays.sha256()  # of format 0, which has none
        made = about.made(job, data_hash, _identity(job, backend, options, ranks))
        del arrays
        with _written(run):
            _go_back(run, progress, start)
            _prune(run, job, progress)  # which a kill may have kept the last session from
            run.set_recipe(job.recipe)
            run.open_session(_facts(job, backend, options, progress, ranks), made)
        return _session(run, job, backend, parts, progress, options, interrupt, ranks)


def _start(run: Run, name: str, job: Job) -> Checkpoint | None:
    """The checkpoint to go on from; None where the run has none yet."""
    if name == "last" and not checkpoints.listed(run.checkpoints):
        return None
    return run.load(name, job.model)[1]


def _check_epochs(job: Job, progress: Progress) -> None:
    begun = progress.epoch + (progress.batch > 0)
    if job.recipe.loop.epochs < begun:
        state = "begun" if progress.batch else "done"
        raise UsageError(
            f"loop.epochs = {job.recipe.loop.epochs}: {begun} are {state} already",
            remedy="give as many or more; an earlier checkpoint can be resumed by its folder",
        )


def _is_done(run: Run, job: Job, progress: Progress) -> bool:
    """True where nothing is left to do; a session that was killed or failed at its very end is ended anew."""
    ended = bool(run.sessions) and run.sessions[-1].get("exit") == "finished"
    return ended and job.is_over(progress.epoch, progress.stopping) and not _to_restore(job, progress)


def _why_done(job: Job, progress: Progress) -> str:
    if progress.epoch < job.recipe.loop.epochs:
        return f"early stopping ended the run after epoch {progress.epoch}"
    return f"all {progress.epoch} epochs are done"


def _to_restore(job: Job, progress: Progress) -> bool:
    stopping = job.recipe.stopping
    return stopping is not None and stopping.restore_best and not progress.restored


def _tell_epochs(run: Run, job: Job, progress: Progress) -> None:
    """Say aloud where another number of epochs changes the learning rates of a run that has begun."""
    recipe = run.recipe
    epochs = run.about.epochs or recipe.loop.epochs  # that of the file may have been edited
    loop = replace(recipe.loop, epochs=epochs)
    before = replace(job, recipe=replace(recipe, loop=loop))
    if not progress.step or not job.recipe.schedule.needs_epochs or before.steps == job.steps:
        return
    step = progress.step + 1
    rates = [each.lr(each.clock(min(step, each.steps), progress.plateau.made)) for each in (before, job)]
    was, now = before.recipe.loop.epochs, job.recipe.loop.epochs
    note(
        f"the schedule {job.recipe.schedule.name} depends on loop.epochs, which was {was} and is {now}: "
        f"the learning rate of step {step} is {rates[1]:.6g} instead of {rates[0]:.6g}, and so on; "
        f"a run of {now} epochs from the start gives other numbers"
    )


def evaluate_run(run: Run, name: str, options: Options, precision: Precision | None = None) -> Sums:
    """Loss and accuracy of a run's checkpoint on the test split, under any backend that has the precision.

    By default the run's own; its weights are float32 in any case.
    """
    if homes.find(options.backend):
        return homes.call(options.backend, evaluate_run, run, name, _travelling(options), precision)
    job = run.job
    _, start = run.load(name, job.model)
    backend = open_backend(options, job.model, precision or job.recipe.loop.precision)
    weights = checkpoints.averaged(start.model, start.optimizer)
    parts = build(backend, job, load_data(job, options.data_dir, run.about.data_hash), weights)
    return evaluate(job, parts.loop, parts.test)[0]


def _travelling(options: Options) -> Options:
    """Options as another process can have them; `UsageError` names an observer that it can't have."""
    for observer in options.observers:
        kind = type(observer)
        try:
            packed(observer)
            problem = "its class stands in the main program" if kind.__module__ == "__main__" else ""
        except Exception as error:  # noqa: BLE001 - whatever an object's own pickling raises
            problem = str(error)
        if problem:
            raise UsageError(
                f"observer {kind.__qualname__} can't go to where backend {options.backend} lives: {problem}",
                remedy="an observer that travels can be pickled, and its module is installed there too",
            )
    return options


def _session(
    run: Run,
    job: Job,
    backend: Backend,
    parts: Parts,
    progress: Progress,
    options: Options,
    interrupt: Interrupt,
    ranks: Ranks,
) -> Outcome:
    finished, started = False, time.perf_counter()

    def close(error: BaseException | None) -> None:
        how = _failure(error) if error else "finished" if finished else "interrupted"
        run.close_session(how, time.perf_counter() - started, progress.step)

    with _written(run), ExitStack() as ending:  # which ends all, also where one of them fails
        ending.push(_last(close))
        metrics = MetricsFile(run)
        watching = [Named(part) for part in job.recipe.observers]
        observers: list[Observer] = [metrics, Curves(run), *watching, *options.observers]
        for observer in observers:
            ending.push(_last(lambda error, stop=observer.stop: stop()))
        interrupt.gentle = True
        store = _store(run, job, backend.name, metrics, ranks)
        trainer = Trainer(job, parts, progress, observers, store, interrupt.asked, ranks)
        start = Start(job, run.path, backend.name, backend.device, progress.step, progress.best.best)
        try:
            for observer in observers:
                observer.start(start)
            finished = trainer.run()
        except (XtrainError, OSError):
            run.check_place()  # where that is the reason, it is what is said
            raise
    return Outcome(run, finished, progress.step)


def _follow(job: Job, parts: Parts, progress: Progress, interrupt: Interrupt, ranks: Ranks) -> None:
    """Train beside the process that writes; no figure or file comes from here."""

    def nothing() -> Checkpoint:
        raise AssertionError("the first process has it")

    interrupt.gentle = True
    store = Store(lambda checkpoint, best: None, lambda progress: ranks.from_first(nothing))
    Trainer(job, parts, progress, [], store, interrupt.asked, ranks).run()


def _last(action: Callable[..., None]) -> Callable[[object, BaseException | None, object], None]:
    """An action for the end, which is handed the error of a session that failed, and never hides it."""

    def end(kind: object, error: BaseException | None, trace: object) -> None:
        with suppress(OSError, XtrainError) if error else nullcontext():
            action(error)

    return end


def _failure(error: BaseException) -> str:
    """How a session ended that raised."""
    if isinstance(error, KeyboardInterrupt):  # the second Ctrl-C
        return "interrupted"
    known = isinstance(error, XtrainError | OSError)
    return f"failed: {getattr(error, 'problem', error)}" if known else "failed"


def _go_back(run: Run, progress: Progress, start: Checkpoint | None) -> None:
    """Let the run's directory say what was true at `progress`."""
    if progress.step:
        checkpoints.mark_last(run.checkpoints, progress.step)
    _mark_best(run, progress)
    run.cut(start.bound.metrics if start and start.bound else None, progress.step, progress.epoch)


def _mark_best(run: Run, progress: Progress) -> None:
    best = f"step-{progress.best_step}"
    if not progress.best_step or not (run.checkpoints / best).is_dir():
        (run.checkpoints / "best").unlink(missing_ok=True)  # it was reached later than this
    elif checkpoints.pointed(run.checkpoints / "best") != best:
        checkpoints.mark_best(run.checkpoints, progress.best_step)


def _prune(run: Run, job: Job, progress: Progress) -> None:
    """Keep as many checkpoints as the recipe says."""
    if keep := job.recipe.loop.kept:
        checkpoints.prune(run.checkpoints, keep, progress.step, progress.best_step)


def _store(run: Run, job: Job, backend: str, metrics: MetricsFile, ranks: Ranks) -> Store:
    """The run's folder of checkpoints."""
    said = run.about

    def save(checkpoint: Checkpoint, best: bool) -> None:
        run.check_place()
        step = checkpoint.progress.step
        bound = Bound(said.recipe_hash or "", said.data_hash or "", backend, metrics.synced())
        checkpoints.save(run.checkpoints, replace(checkpoint, bound=bound))
        if best:
            checkpoints.mark_best(run.checkpoints, step)
        _prune(run, job, checkpoint.progress)

    def load_best(progress: Progress) -> Checkpoint:
        return ranks.from_first(lambda: run.load(f"step-{progress.best_step}", job.model)[1])

    return Store(save, load_best)


@contextmanager
def _written(run: Run) -> Iterator[None]:
    """Tells what the disk refuses."""
    try:
        yield
    except OSError as error:
        remedy = f"make room or make it writable, then go on with: xtrain run --resume {run.path}"
        raise XtrainError(f"the run can't be written: {error}", where=run.path, remedy=remedy) from error


def _identity(job: Job, backend: Backend, options: Options, ranks: Ranks) -> dict[str, Any]:
    """What else a run's numbers hang on than its recipe and data."""
    return {
        "backend": backend.name,
        "device": backend.device,
        "threads": options.threads,
        "precision": job.recipe.loop.precision,
        "processes": ranks.place.size,
    }


def _facts(job: Job, backend: Backend, options: Options, progress: Progress, ranks: Ranks) -> dict[str, Any]:
    """What someone needs to know who wants to do the same again."""
    probe, engine = backend.probe(), plugins.engine(backend)
    several = {"processes": ranks.place.size, "hosts": ranks.hosts, "engine": engine.name if engine else ""}
    return {
        "backend": backend.name,
        "device": backend.device,
        "threads": options.threads,
        **(several if ranks.place.size > 1 else {}),
        "seed": job.recipe.seed,
        "epochs": job.recipe.loop.epochs,
        "from_step": progress.step,
        "versions": {
            "xtrain": version(),
            "python": platform.python_version(),
            "numpy": np.__version__,
            backend.name: probe.version,
        },
        "environment": {
            key: os.environ.get(key, "") for key in backend.environment(job.model, options.threads)
        },
        "notes": dict(probe.notes),
        "interpreter": sys.executable,
        "host": {"name": platform.node(), "system": platform.platform(), "cores": usable_cores()},
        "command": sys.argv,
    }


def new_path(recipe: str, backend: str) -> Path:
    """runs/<recipe>-<backend>-<time>, with a number where two start in one second."""
    stem = f"{recipe}-{backend}-{datetime.now():%Y%m%d-%H%M%S}"
    path, number = Path("runs") / stem, 1
    while path.exists():
        number += 1
        path = Path("runs") / f"{stem}-{number}"
    return path
