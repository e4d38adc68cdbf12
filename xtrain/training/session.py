"""One session of a run: train, go on or evaluate, and write down what was."""

import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from xtrain.errors import XtrainError
from xtrain.protocols import Backend
from xtrain.recipe import Job
from xtrain.runs import checkpoint as checkpoints
from xtrain.runs.checkpoint import Checkpoint
from xtrain.runs.progress import Progress, Sums
from xtrain.runs.run import Run
from xtrain.spec import Precision
from xtrain.system.interrupt import Interrupt, listening
from xtrain.system.machine import usable_cores
from xtrain.training.assembly import Options, Parts, build, initial_state, load_data, open_backend
from xtrain.training.observers import Observer, Start
from xtrain.training.observers.curves import Curves
from xtrain.training.observers.metrics import MetricsFile
from xtrain.training.trainer import Store, Trainer, evaluate


@dataclass(frozen=True)
class Outcome:
    """How a session ended."""

    run: Run
    finished: bool
    step: int


def train(job: Job, options: Options, out: Path | None = None) -> Outcome:
    """Train from the start in a new run directory."""
    with listening() as interrupt:
        weights = initial_state(job)  # what is wrong with `init_from` is said before a framework loads
        backend = open_backend(options, job.model, job.recipe.loop.precision)
        parts = build(backend, job, load_data(job, options.data_dir), weights)
        run = Run.create(out or new_path(job.recipe.name, backend.name), job.recipe)
        with run.locked():
            return _session(run, job, backend, parts, Progress(), options, interrupt)


def resume(run: Run, name: str, options: Options, job: Job) -> Outcome:
    """Go on in a run's directory from checkpoint `name`, or from the start where there is none yet."""
    with listening() as interrupt, run.locked():
        run.sweep()
        weights, moments, progress = None, None, Progress()
        if name != "last" or os.path.lexists(run.checkpoints / "last"):
            start = checkpoints.load(run.checkpoint(name), job.model)
            weights, moments, progress = start.model, start.optimizer, start.progress
        backend = open_backend(options, job.model, job.recipe.loop.precision)
        arrays = load_data(job, options.data_dir)
        parts = build(backend, job, arrays, weights or initial_state(job), moments)
        return _session(run, job, backend, parts, progress, options, interrupt)


def evaluate_run(run: Run, name: str, options: Options, precision: Precision | None = None) -> Sums:
    """Loss and accuracy of a run's checkpoint on the test split, under any backend that has the precision.

    By default the run's own; its weights are float32 in any case.
    """
    job = run.job
    start = checkpoints.load(run.checkpoint(name), job.model)
    backend = open_backend(options, job.model, precision or job.recipe.loop.precision)
    weights = checkpoints.averaged(start.model, start.optimizer)
    parts = build(backend, job, load_data(job, options.data_dir), weights)
    return evaluate(job, parts.loop, parts.test)[0]


def _session(
    run: Run,
    job: Job,
    backend: Backend,
    parts: Parts,
    progress: Progress,
    options: Options,
    interrupt: Interrupt,
) -> Outcome:
    how, started = "failed", time.perf_counter()
    with _written(run), ExitStack() as ending:  # which ends all, also where one of them fails
        _go_back(run, progress)
        run.set_recipe(job.recipe)
        run.open_session(_facts(job, backend, options, progress))
        ending.callback(lambda: run.close_session(how, time.perf_counter() - started, progress.step))
        observers: list[Observer] = [MetricsFile(run.metrics_path), Curves(run), *options.observers]
        for observer in observers:
            ending.callback(observer.stop)
        try:
            interrupt.gentle = True
            trainer = Trainer(job, parts, progress, observers, _store(run, job), interrupt.asked)
            start = Start(job, run.path, backend.name, backend.device, progress.step)
            for observer in observers:
                observer.start(start)
            finished = trainer.run()
            how = "finished" if finished else "interrupted"
        except KeyboardInterrupt:  # the second Ctrl-C
            how = "interrupted"
            raise
        except (XtrainError, OSError) as error:
            how = f"failed: {getattr(error, 'problem', error)}"
            raise
    return Outcome(run, finished, progress.step)


def _go_back(run: Run, progress: Progress) -> None:
    """Let the run's directory say what was true at `progress`."""
    if progress.step:
        checkpoints.mark_last(run.checkpoints, progress.step)
    if progress.best_step and (run.checkpoints / f"step-{progress.best_step}").is_dir():
        checkpoints.mark_best(run.checkpoints, progress.best_step)
    else:
        (run.checkpoints / "best").unlink(missing_ok=True)  # it was reached later than this
    run.cut(lambda record: _happened(record, progress))


def _store(run: Run, job: Job) -> Store:
    """The run's folder of checkpoints."""

    def save(checkpoint: Checkpoint, best: bool) -> None:
        checkpoints.save(run.checkpoints, checkpoint)
        if best:
            checkpoints.mark_best(run.checkpoints, checkpoint.progress.step)
        if keep_last := job.recipe.loop.keep_last:
            checkpoints.prune(run.checkpoints, keep_last, checkpoint.progress.best_step)

    return Store(save, lambda: checkpoints.load(run.checkpoint("best"), job.model))


@contextmanager
def _written(run: Run) -> Iterator[None]:
    """Tells what the disk refuses."""
    try:
        yield
    except OSError as error:
        remedy = f"make room or make it writable, then go on with: xtrain run --resume {run.path}"
        raise XtrainError(f"the run can't be written: {error}", where=run.path, remedy=remedy) from error


def _happened(record: dict[str, Any], progress: Progress) -> bool:
    """True for a record that a run which stands at `progress` has behind it."""
    if record["kind"] == "epoch":
        return bool(record["epoch"] <= progress.epoch)
    return bool(record["step"] <= progress.step)


def _facts(job: Job, backend: Backend, options: Options, progress: Progress) -> dict[str, Any]:
    """What someone needs to know who wants to do the same again."""
    probe = backend.probe()
    return {
        "backend": backend.name,
        "device": backend.device,
        "threads": options.threads,
        "seed": job.recipe.seed,
        "from_step": progress.step,
        "versions": {
            "xtrain": version("xtrain"),
            "python": platform.python_version(),
            "numpy": np.__version__,
            backend.name: probe.version,
        },
        "environment": {
            key: os.environ.get(key, "") for key in backend.environment(job.model, options.threads)
        },
        "notes": dict(probe.notes),
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
