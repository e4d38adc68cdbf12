"""Assembling the parts of a training: backend, environment, splits of the data, first weights."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xtrain import data, plan, plugins
from xtrain.data.batches import per_channel
from xtrain.errors import DataError, UsageError
from xtrain.protocols import Backend, Dataset, Loop, Model, Optimizer
from xtrain.recipe import Job
from xtrain.runs import checkpoint as checkpoints
from xtrain.runs import weights as weight_files
from xtrain.runs.folder import is_pointer
from xtrain.runs.run import Run, locate
from xtrain.spec import ModelSpec, Precision, Split, State
from xtrain.spec.parts import OwnCode
from xtrain.training.distributed import Joining
from xtrain.training.observers import Observer

_CHANGED = "the data has changed since the run was made: bring it back, or begin a new run"


@dataclass(frozen=True)
class Options:
    """How and where to run, apart from what the recipe says; an empty `backend` is still to be chosen."""

    backend: str = ""
    device: str = "auto"
    threads: int | None = None
    data_dir: Path | None = None
    observers: Sequence[Observer] = field(default=())
    processes: int = 1
    joining: Joining = field(default=Joining())

    def __post_init__(self) -> None:
        for name in ("threads", "processes"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise UsageError(f"{name} = {value!r}: give a whole number of 1 or more")


@dataclass(frozen=True)
class Source:
    """A split as a backend holds it, and its labels [N], by which the plan weighs each sample."""

    dataset: Dataset
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Parts:
    """What a backend built for one training."""

    train: Source
    test: Source
    model: Model
    optimizer: Optimizer
    loop: Loop
    validation: Source | None = None


def chosen(options: Options, run: Run | None = None) -> tuple[Options, str]:
    """Options with a backend, and why that one: the run's own when it goes on, else the default.

    A run's number of threads goes with its backend, because it is part of what makes it repeatable.
    """
    if options.backend:
        return options, ""
    if run and (last := run.about.last_used):
        return replace(options, backend=last[0], threads=options.threads or last[1]), ""
    name, why = plugins.default()
    return replace(options, backend=name), why


def open_backend(options: Options, model: ModelSpec, precision: Precision = "float32") -> Backend:
    """The backend, its environment applied; call it before anything loads its framework.

    What a framework reads of the environment it reads when it is imported, so the variables are this
    process's from then on. A number of threads that is asked for goes before a variable of the user's.
    """
    backend = plugins.load(options.backend, options.device, options.threads, precision)
    plugins.require(backend)
    for key, value in backend.environment(model, options.threads).items():
        if options.threads or key not in os.environ:
            os.environ[key] = value
    place = plugins.place(backend)
    if place.size > 1 and ":" not in options.device:
        device = plugins.resolve_device(backend.name, backend.device, backend.probe().devices)
        if device != "cpu":  # each process of a host has one of its own
            kind = device.partition(":")[0]
            own = f"{kind}:{place.local_rank}"
            backend = plugins.load(options.backend, own, options.threads, precision)
    plugins.require_precision(backend, precision)
    return backend


def load_data(job: Job, data_dir: Path | None, expected: str | None = None) -> data.Arrays:
    """Both splits in memory. `DataError` where they are not what the job was bound to.

    `expected` is the SHA-256 of the arrays that a run was made with.
    """
    arrays = data.load(job.recipe.data.dataset, data_dir)
    train, test = len(arrays.train_labels), len(arrays.test_labels)
    if (train, test) != (job.data.train, job.data.test):
        raise DataError(
            f"has {train} training and {test} test images, not {job.data.train} and {job.data.test}",
            where=job.data.name,
            remedy=_CHANGED,
        )
    if expected and arrays.sha256() != expected:
        raise DataError(
            "is not the data that the run was made with (its hash differs)",
            where=job.data.name,
            remedy=_CHANGED,
        )
    return arrays


def build(
    backend: Backend, job: Job, arrays: data.Arrays, weights: State, optimizer_state: State | None = None
) -> Parts:
    """All parts of a training.

    Args:
        backend: opened, its environment applied.
        job: what is trained.
        arrays: the job's data.
        weights: what the model holds.
        optimizer_state: what the optimizer holds; by default what it begins with.

    """
    recipe = job.recipe
    train, validation, test = splits(job, arrays)
    with lowered(job):
        model = backend.model(job.model)
        model.load(weights)
        optimizer = backend.optimizer(recipe.optimizer, model)
        if optimizer_state is not None:
            checkpoints.check_optimizer(optimizer_state, recipe.optimizer, job.model, recipe.loop.precision)
            optimizer.load(optimizer_state)
        loop = backend.loop(model, recipe.loss, optimizer)
    held_out = _source(backend, validation) if validation else None
    return Parts(_source(backend, train), _source(backend, test), model, optimizer, loop, held_out)


def lowered(job: Job) -> OwnCode:
    """Where a backend computes: what fails there is told with the packages whose parts it lowers."""
    kinds = {type(part): part for part in (job.recipe.loss, *(node.layer for node in job.model.walk()))}
    return OwnCode("with whose lowering the training fails", *kinds.values())


def _source(backend: Backend, split: Split) -> Source:
    return Source(backend.dataset(split), split.labels)


def splits(job: Job, arrays: data.Arrays) -> tuple[Split, Split | None, Split]:
    """What is trained on, what of it is kept for validation (None where nothing is), and the test split."""
    section, (images, labels) = job.recipe.data, (arrays.train_images, arrays.train_labels)
    mean, std = per_channel(job.normalize.mean), per_channel(job.normalize.std)
    validation = None
    if section.validation:
        fraction, balanced = section.validation.fraction, section.validation.balanced
        kept = plan.held_out(job.recipe.seed, labels, fraction, balanced=balanced)
        validation = Split(images[kept], labels[kept], mean, std, section.eval_transform)
        images, labels = images[~kept], labels[~kept]
    test = Split(arrays.test_images, arrays.test_labels, mean, std, section.eval_transform)
    return Split(images, labels, mean, std, section.augment), validation, test


def initial_state(job: Job) -> State:
    """The weights a run starts with: the plan's, or those of `init_from`, a run or a weights file."""
    given = job.recipe.init_from
    if given is None:
        return plan.initial_state(job.recipe.seed, job.model)
    path = Path(given)
    if weight_files.is_file(path) and not is_pointer(path):
        return weight_files.load(path, job.model)
    run, name = locate(path)
    if name == "last" and path.name != "last" and checkpoints.pointed(run.checkpoints / "best"):
        name = "best"
    _, found = run.load(name, job.model)
    return checkpoints.averaged(found.model, found.optimizer)
