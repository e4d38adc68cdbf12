"""Weights and optimizer state from one framework's files into another's, checked against a model.

The seam between any two formats is the canonical state. Each side is handled in a process of its own, and
the core's own formats here: safetensors, that of checkpoints, and ONNX, which is written only.
"""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import save_file

from xtrain import homes, plugins
from xtrain.errors import BackendError, CheckpointError, UsageError, XtrainError, suggest
from xtrain.export.onnx import Onnx
from xtrain.protocols import Files
from xtrain.recipe import Job, Recipe
from xtrain.runs import checkpoint as checkpoints
from xtrain.runs.folder import is_pointer
from xtrain.runs.run import locate
from xtrain.runs.weights import compare, count, floats, read, shapes
from xtrain.spec import ModelSpec, OptimizerSpec, State
from xtrain.system.files import permissions, sync, sync_folder
from xtrain.training.assembly import Options, open_backend

_REMEDY = "give the recipe it was trained with; --weights-only leaves an optimizer state out"


@dataclass(frozen=True)
class Converted:
    """What was written."""

    paths: tuple[Path, ...]
    tensors: int
    step: int | None
    """Updates made, where there is an optimizer state."""
    rounded: bool
    """True where float64 became float32."""


def convert(
    source: str | Path,
    target: str | Path,
    recipe: Recipe | None = None,
    *,
    weights_only: bool = False,
    force: bool = False,
) -> Converted:
    """Write the model of `source` in the format of `target`'s suffix.

    Args:
        source: a file, or a run or one of its checkpoint folders, which know their recipe themselves.
        target: a file that is not there yet.
        recipe: whose model and optimizer `source` must hold.
        weights_only: leave the optimizer state out.
        force: replace `target`.

    Raises:
        UsageError: a format nobody knows, no recipe, a target that exists.
        CheckpointError: a damaged or hostile source, or one of another model or optimizer.

    """
    target = Path(target)
    owner = _owner(target)
    _check_target(target, _files(owner).beside, force)
    job, weights, moments = _read(Path(source), recipe, weights_only)
    rounded = False
    if owner == _ONNX and moments:  # it holds what evaluation uses
        weights, moments = checkpoints.averaged(weights, moments), None
    if owner != _SAFETENSORS:  # which alone keeps float64
        rounded = any(value.dtype == np.float64 for value in {**weights, **(moments or {})}.values())
        weights = _single(weights, Path(source))
        moments = None if moments is None else _single(moments, Path(source))
    paths = _put(owner, target, (job.model, job.recipe.optimizer, weights, moments))
    return Converted(paths, len(weights), None if moments is None else int(moments["step"]), rounded)


class Safetensors:
    """Weights in one file, optimizer state in another beside it."""

    suffixes: tuple[str, ...] = (".safetensors",)
    beside = ".optimizer.safetensors"

    def read(
        self, path: Path, model: ModelSpec, optimizer: OptimizerSpec | None
    ) -> tuple[State, State | None]:
        """Counts of batches, which nothing here uses, are passed over."""
        weights = {key: v for key, v in read(path).items() if not key.endswith("num_batches_tracked")}
        second = path.with_suffix(self.beside)
        return weights, read(second) if optimizer and second.is_file() else None

    def write(
        self, path: Path, model: ModelSpec, optimizer: OptimizerSpec, weights: State, moments: State | None
    ) -> None:
        """As a run's checkpoints have them."""
        for place, state in ((path, weights), (path.with_suffix(self.beside), moments)):
            if state is not None:
                whole = {name: np.asarray(value, order="C") for name, value in state.items()}
                save_file(whole, place, metadata={"format": "xtrain"})


_SAFETENSORS, _ONNX = ".safetensors", ".onnx"
_OWN: dict[str, Files] = {_SAFETENSORS: Safetensors(), _ONNX: Onnx()}
"""The core's own formats by suffix, which is their owner too; that of others is a backend."""


def _owner(path: Path) -> str:
    """Whose format a file has by its suffix: a backend's, or the core's own."""
    known = {suffix: suffix for suffix in _OWN} | plugins.formats()
    if path.is_dir() or path.suffix not in known:
        found = "is a folder" if path.is_dir() else f"has the suffix {path.suffix!r}"
        raise UsageError(f"{found}, which no format has", where=path, remedy=suggest(path.suffix, known))
    return known[path.suffix]


def _files(owner: str) -> Files:
    if owner in _OWN:
        return _OWN[owner]
    found = plugins.files(owner)
    if found is None:
        raise BackendError(f"backend {owner!r} has no files of its own")
    return found


def _check_target(target: Path, beside: str, force: bool) -> None:
    """Refuse before any work what can't be written, or would overwrite something."""
    if not target.parent.is_dir():
        raise UsageError("there is no such folder to write to", where=target.parent)
    for path in (target, *_second(target, beside)):
        if path.exists() and not force:
            raise UsageError("exists", where=path, remedy="choose another name, or replace it with --force")


def _second(path: Path, beside: str) -> tuple[Path, ...]:
    return (path.with_suffix(beside),) if beside else ()


def _read(source: Path, recipe: Recipe | None, weights_only: bool) -> tuple[Job, State, State | None]:
    """The job, and the states of it that `source` holds."""
    moments: State | None
    if source.is_dir() or is_pointer(source):
        run, name = locate(source)
        job = recipe.bind() if recipe else run.job
        _, found = run.load(name, job.model)
        weights, moments = found.model, found.optimizer
        if weights_only:  # those that evaluation uses
            weights, moments = checkpoints.averaged(weights, moments), None
    else:
        owner = _owner(source)
        if owner == _ONNX:
            Onnx().read(source)  # refuses, before a recipe is asked for
        if not source.is_file():
            raise UsageError("there is no such file", where=source)
        if recipe is None:
            remedy = "give the recipe it was trained with: --recipe RECIPE"
            raise UsageError("a file does not say of which model it is", where=source, remedy=remedy)
        job = recipe.bind()
        given = (job.model, None if weights_only else job.recipe.optimizer)
        weights, moments = _place(owner)(_read_here, owner, source, *given)
    model, optimizer = job.model, job.recipe.optimizer
    wanted = shapes(model)
    compare(weights, wanted, f"the weights of model {model.name}", source, _REMEDY)
    weights = floats({name: weights[name] for name in wanted}, source)
    if moments is not None:
        buffers = {
            f"{name}/{buffer}": wanted[name] for name in model.trainable for buffer in optimizer.buffers
        }
        title = f"the state of optimizer {optimizer.name}"
        compare(moments, {"step": (), **buffers}, title, source, _REMEDY)
        step = count(moments["step"], source)
        moments = {"step": step, **floats({name: moments[name] for name in buffers}, source)}
    return job, weights, moments


def _place(owner: str) -> Callable[..., Any]:
    """Where a call is made: a framework's in a process of its own, where it lives."""
    return partial(homes.call, owner) if owner not in _OWN else lambda function, *given: function(*given)


def _read_here(
    owner: str, path: Path, model: ModelSpec, optimizer: OptimizerSpec | None
) -> tuple[State, State | None]:
    return _opened(owner, model).read(path, model, optimizer)


def _opened(owner: str, model: ModelSpec) -> Files:
    """In a process that may become a framework's own."""
    if owner not in _OWN:
        open_backend(Options(owner), model)
    return _files(owner)


def _single(state: State, where: Path) -> State:
    """In float32; `CheckpointError` for what is too large for it."""
    with np.errstate(over="ignore"):
        single = {name: v if name == "step" else v.astype(np.float32) for name, v in state.items()}
    large = [name for name, value in single.items() if not np.isfinite(value).all()]
    if large:
        raise CheckpointError(f"{large[0]} has values that float32 can't have", where=where)
    return single


_Given = tuple[ModelSpec, OptimizerSpec, State, State | None]


def _put(owner: str, target: Path, given: _Given) -> tuple[Path, ...]:
    """Write beside and rename; the weights come last, so where they stand all is whole."""
    beside = None
    try:
        beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        _place(owner)(_write_here, owner, beside / target.name, *given)
        made = sorted(beside.iterdir(), key=lambda path: path.name == target.name)
        mode = permissions(beside)
        for path in made:
            path.chmod(mode)  # some libraries write for their own user alone
            sync(path)
        old = [path for path in (target, *_second(target, _files(owner).beside)) if path.exists()]
        if len(made) > 1 or len(old) > 1:  # files of two conversions must not stand together
            for path in old:
                path.unlink()
        for path in made:
            path.replace(target.parent / path.name)
        sync_folder(target.parent)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:  # the libraries' full disks
        problem = getattr(error, "strerror", None) or error
        raise XtrainError(f"can't be written: {problem}", where=target, remedy="nothing was") from error
    finally:
        if beside:
            shutil.rmtree(beside, ignore_errors=True)
    return tuple(target.parent / path.name for path in reversed(made))


def _write_here(owner: str, path: Path, *given: *_Given) -> None:
    _opened(owner, given[0]).write(path, *given)
