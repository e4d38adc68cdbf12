"""One session of a run: open backend and data, build the parts, train, write down what was."""

import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from xtrain import data, plan, plugins
from xtrain.data.batches import per_channel
from xtrain.errors import XtrainError
from xtrain.protocols import Backend
from xtrain.recipe import Recipe
from xtrain.runs import checkpoint as checkpoints
from xtrain.runs.checkpoint import Checkpoint
from xtrain.runs.progress import Progress, Sums
from xtrain.runs.run import Run, locate
from xtrain.spec import ModelSpec, Precision, Split, State
from xtrain.system.interrupt import Interrupt, listening
from xtrain.system.machine import tune_memory, usable_cores
from xtrain.training.observers import Observer, Start
from xtrain.training.observers.curves import Curves
from xtrain.training.observers.metrics import MetricsFile
from xtrain.training.trainer import Parts, Store, Trainer, evaluate


@dataclass(frozen=True)
class Options:
    """How and where to run, apart from what the recipe says; an empty `backend` is still to be chosen."""

    backend: str = ""
    device: str = "auto"
    threads: int | None = None
    data_dir: Path | None = None
    observers: Sequence[Observer] = field(default=())


@dataclass(frozen=True)
class Outcome:
    """How a session ended."""

    run: Run
    finished: bool
    step: int


def chosen(options: Options, run: Run | None = None) -> tuple[Options, str]:
    """Options with a backend, and why that one: the run's own when it goes on, else the default.

    A run's number of threads goes with its backend, because it is part of what makes it repeatable.
    """
    if options.backend:
        return options, ""
    if run and run.sessions:
        last = run.sessions[-1]
        return replace(options, backend=last["backend"], threads=options.threads or last["threads"]), ""
    name, why = plugins.default()
    return replace(options, backend=name), why


def open_backend(options: Options, model: ModelSpec, precision: Precision = "float32") -> Backend:
    """The backend, its environment applied; call it before anything loads its framework."""
    backend = plugins.load(options.backend, options.device, options.threads, precision)
    plugins.require(backend)
    for key, value in backend.environment(model, options.threads).items():
        # What the user has set himself stands, unless this call asks for a number of threads.
        if options.threads or key not in os.environ:
            os.environ[key] = value
    tune_memory()
    plugins.require_precision(backend, precision)
    return backend


def build(
    backend: Backend, recipe: Recipe, arrays: data.Arrays, weights: State, moments: State | None = None
) -> Parts:
    """All parts of a run; the model holds `weights`, the optimizer `moments` or what it begins with."""
    train, validation, test = splits(recipe, arrays)
    model = backend.model(recipe.model_spec)
    model.load(weights)
    optimizer = backend.optimizer(recipe.optimizer, model)
    if moments is not None:
        checkpoints.check_optimizer(moments, recipe.optimizer, recipe.model_spec, recipe.loop.precision)
        optimizer.load(moments)
    loop = backend.loop(model, recipe.loss, optimizer)
    held_out = backend.dataset(validation) if validation else None
    return Parts(backend.dataset(train), backend.dataset(test), model, optimizer, loop, held_out)


def splits(recipe: Recipe, arrays: data.Arrays) -> tuple[Split, Split | None, Split]:
    """What is trained on, what of it is kept for validation (None where nothing is), and the test split."""
    section, (images, labels) = recipe.data, (arrays.train_images, arrays.train_labels)
    mean, std = per_channel(recipe.normalize.mean), per_channel(recipe.normalize.std)
    validation = None
    if section.validation:
        fraction, balanced = section.validation.fraction, section.validation.balanced
        kept = plan.held_out(recipe.seed, labels, fraction, balanced=balanced)
        validation = Split(images[kept], labels[kept], mean, std, section.eval_transform)
        images, labels = images[~kept], labels[~kept]
    test = Split(arrays.test_images, arrays.test_labels, mean, std, section.eval_transform)
    return Split(images, labels, mean, std, section.augment), validation, test


def initial_state(recipe: Recipe) -> State:
    """The weights a run starts with: the plan's, or those of `init_from`, a run or a weights file."""
    if recipe.init_from is None:
        return plan.initial_state(recipe.seed, recipe.model_spec)
    path = Path(recipe.init_from)
    if path.suffix == ".safetensors" and path.is_file():
        return checkpoints.load_weights(path, recipe.model_spec)
    run, name = locate(path)
    if name == "last" and path.name != "last" and os.path.lexists(run.checkpoints / "best"):
        name = "best"
    found = checkpoints.load(run.checkpoint(name), recipe.model_spec)
    return checkpoints.averaged(found.model, found.optimizer)


def train(recipe: Recipe, options: Options, out: Path | None = None) -> Outcome:
    """Train from the start in a new run directory."""
    with listening() as interrupt:
        weights = initial_state(recipe)  # what is wrong with `init_from` is said before a framework loads
        backend = open_backend(options, recipe.model_spec, recipe.loop.precision)
        parts = build(backend, recipe, data.load(recipe.data, options.data_dir), weights)
        run = Run.create(out or new_path(recipe.name, backend.name), recipe)
        with run.locked():
            return _session(run, recipe, backend, parts, Progress(), options, interrupt)


def resume(run: Run, name: str, options: Options, recipe: Recipe) -> Outcome:
    """Go on in a run's directory from checkpoint `name`, or from the start where there is none yet."""
    with listening() as interrupt, run.locked():
        run.sweep()
        weights, moments, progress = None, None, Progress()
        if name != "last" or os.path.lexists(run.checkpoints / "last"):
            start = checkpoints.load(run.checkpoint(name), recipe.model_spec)
            weights, moments, progress = start.model, start.optimizer, start.progress
        backend = open_backend(options, recipe.model_spec, recipe.loop.precision)
        arrays = data.load(recipe.data, options.data_dir)
        parts = build(backend, recipe, arrays, weights or initial_state(recipe), moments)
        return _session(run, recipe, backend, parts, progress, options, interrupt)


def evaluate_run(run: Run, name: str, options: Options, precision: Precision | None = None) -> Sums:
    """Loss and accuracy of a run's checkpoint on the test split, under any backend that has the precision.

    By default the run's own; its weights are float32 in any case.
    """
    recipe = run.recipe
    start = checkpoints.load(run.checkpoint(name), recipe.model_spec)
    backend = open_backend(options, recipe.model_spec, precision or recipe.loop.precision)
    weights = checkpoints.averaged(start.model, start.optimizer)
    parts = build(backend, recipe, data.load(recipe.data, options.data_dir), weights)
    return evaluate(parts.loop, parts.test, recipe.data.eval_batch_size)[0]


def _session(
    run: Run,
    recipe: Recipe,
    backend: Backend,
    parts: Parts,
    progress: Progress,
    options: Options,
    interrupt: Interrupt,
) -> Outcome:
    how, started = "failed", time.perf_counter()
    with _written(run), ExitStack() as ending:  # which ends all, also where one of them fails
        _go_back(run, progress)
        run.set_recipe(recipe)
        run.open_session(_facts(recipe, backend, options, progress))
        ending.callback(lambda: run.close_session(how, time.perf_counter() - started, progress.step))
        observers = [MetricsFile(run.metrics_path), Curves(run), *options.observers]
        for observer in observers:
            ending.callback(observer.stop)
        try:
            interrupt.gentle = True
            trainer = Trainer(recipe, parts, progress, observers, _store(run, recipe), interrupt.asked)
            per_epoch = trainer.steps_per_epoch
            start = Start(recipe, run.path, backend.name, backend.device, progress.step, per_epoch)
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


def _store(run: Run, recipe: Recipe) -> Store:
    """The run's folder of checkpoints."""

    def save(checkpoint: Checkpoint, best: bool) -> None:
        checkpoints.save(run.checkpoints, checkpoint)
        if best:
            checkpoints.mark_best(run.checkpoints, checkpoint.progress.step)
        if recipe.loop.keep_last:
            checkpoints.prune(run.checkpoints, recipe.loop.keep_last, checkpoint.progress.best_step)

    return Store(save, lambda: checkpoints.load(run.checkpoint("best"), recipe.model_spec))


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


def _facts(recipe: Recipe, backend: Backend, options: Options, progress: Progress) -> dict[str, Any]:
    """What someone needs to know who wants to do the same again."""
    probe = backend.probe()
    return {
        "backend": backend.name,
        "device": backend.device,
        "threads": options.threads,
        "seed": recipe.seed,
        "from_step": progress.step,
        "versions": {
            "xtrain": version("xtrain"),
            "python": platform.python_version(),
            "numpy": np.__version__,
            backend.name: probe.version,
        },
        "environment": dict(backend.environment(recipe.model_spec, options.threads)),
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
