"""Canonical state <-> safetensors: a folder that is either whole or not there.

`checkpoints/step-N/` holds `weights.safetensors`, `optimizer.safetensors` and `progress.json`, which also
has the hashes of both, of itself, of what decides the run's numbers and of metrics.jsonl up to there. It is
written beside, synced and renamed. `last` and `best` are text files that name a folder; links of older runs
are read as well.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import load as deserialized
from safetensors.numpy import save as serialized

from xtrain.errors import CheckpointError
from xtrain.runs import weights as weight_files
from xtrain.runs.binding import digest
from xtrain.runs.metrics import Written
from xtrain.runs.progress import Progress
from xtrain.spec import ModelSpec, OptimizerSpec, Precision, State
from xtrain.system.files import (
    content,
    read_json,
    remove,
    sync_folder,
    temporary,
    write_atomically,
    write_new,
)
from xtrain.system.locks import NoLocksError, locked

NAME = r"step-\d+"
"""Names of checkpoints, as a pattern."""

_FORMATS = (2, 3)
_TENSOR_FILES = ("weights.safetensors", "optimizer.safetensors")
ASIDE = "old-"
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    safetensors.SafetensorError,
)


@dataclass(frozen=True)
class Bound:
    """What a checkpoint belongs to.

    Args:
        recipe: hash of the part of the recipe that decides the numbers (`runs.binding`).
        data: SHA-256 of the data's arrays.
        backend: name of the one that computed it.
        metrics: what metrics.jsonl was up to here.

    """

    recipe: str
    data: str
    backend: str
    metrics: Written


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run goes on from, under any backend; `bound` is None for one of format 2 or in memory."""

    model: State
    optimizer: State
    progress: Progress
    bound: Bound | None = None


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write `folder/step-N` and let `last` name it. `CheckpointError` where the disk refuses."""
    name = f"step-{checkpoint.progress.step}"
    beside = temporary(folder / name)
    try:
        folder.mkdir(exist_ok=True)
        remove(beside)
        beside.mkdir()
        _write(beside, checkpoint)
        _replace(folder / name, beside)
        mark_last(folder, checkpoint.progress.step)
    except (OSError, safetensors.SafetensorError) as error:
        with suppress(OSError):
            remove(beside)
        raise CheckpointError(
            f"the checkpoint can't be written: {getattr(error, 'strerror', None) or error}",
            where=folder / name,
            remedy="earlier checkpoints are untouched; make room, then resume the run",
        ) from error
    return folder / name


def mark_last(folder: Path, step: int) -> None:
    """Let `last` name the checkpoint of a step."""
    write_atomically(folder / "last", f"step-{step}\n")


def mark_best(folder: Path, step: int) -> None:
    """Let `best` name the checkpoint of a step."""
    write_atomically(folder / "best", f"step-{step}\n")


def pointed(path: Path) -> str | None:
    """The name in a pointer; None where there is none, or what it names is no checkpoint's name."""
    try:
        # Older runs have links; where one leads is a name like any other, and nothing is followed.
        name = os.readlink(path) if path.is_symlink() else content(path).decode().strip()
    except (OSError, ValueError):
        return None
    return name if re.fullmatch(NAME, name) else None


def listed(folder: Path) -> list[Path]:
    """The folders of checkpoints, by step; other entries, such as a user's own, are none of ours."""
    if not folder.is_dir():
        return []
    entries = [entry for entry in folder.iterdir() if re.fullmatch(NAME, entry.name)]
    return sorted((entry for entry in entries if entry.is_dir() and not entry.is_symlink()), key=step_of)


def step_of(path: Path) -> int:
    """The number in a checkpoint's name."""
    return int(path.name.removeprefix("step-"))


def is_whole(path: Path) -> bool:
    """True where the files of a checkpoint are those that were written."""
    try:
        _read(path)
    except (CheckpointError, *_DAMAGE):
        return False
    return True


def load(path: Path, model: ModelSpec) -> Checkpoint:
    """Read a checkpoint of `model`. `CheckpointError` where it is damaged or belongs to another model."""
    try:
        with _kept(path):
            found = _read(path)
    except _DAMAGE as error:
        raise CheckpointError(
            f"is damaged or not a checkpoint: {error}",
            where=path,
            remedy="resume or evaluate another of the run's checkpoints",
        ) from error
    remedy = "the run's recipe.toml should say which model its checkpoints are of"
    weight_files.compare(
        found.model, weight_files.shapes(model), f"the weights of {model.name}", path, remedy
    )
    return found


def written(path: Path) -> Written | None:
    """What a checkpoint says of metrics.jsonl; None for one of format 2.

    `CheckpointError` where it is damaged.
    """
    try:
        _, bound = _record(path)
    except _DAMAGE as error:
        raise CheckpointError(f"is damaged or not a checkpoint: {error}", where=path) from error
    return bound.metrics if bound else None


@contextmanager
def _kept(path: Path) -> Iterator[None]:
    """Keep a training beside from removing the checkpoint while it is read."""
    with ExitStack() as lock:
        with suppress(NoLocksError, BlockingIOError):  # blocked: it is being removed, which reading will tell
            lock.enter_context(locked(path, shared=True))
        yield


def averaged(model: State, optimizer: State) -> State:
    """The weights that evaluation uses: their moving averages where the optimizer keeps them (`ema`)."""
    averages = {name: optimizer[f"{name}/ema"] for name in model if f"{name}/ema" in optimizer}
    return model | averages if int(optimizer["step"]) else model


def prune(folder: Path, keep: int, step: int, best_step: int) -> None:
    """Remove checkpoints up to `step` but the last `keep` and the best; one that is being read stays.

    Later ones stay as well: a run that was set back to an earlier step has not reached them again.
    """
    reached = [path for path in listed(folder) if step_of(path) <= step]
    for path in reached[:-keep]:
        if step_of(path) != best_step:
            with suppress(OSError), _unread(path):
                aside = temporary(path, ASIDE)
                path.rename(aside)  # gone at once, for whoever looks for it
                remove(aside)


@contextmanager
def _unread(path: Path) -> Iterator[None]:
    """`BlockingIOError` where somebody reads the checkpoint."""
    with ExitStack() as lock:
        with suppress(NoLocksError):
            lock.enter_context(locked(path))
        yield


def check_optimizer(
    state: State, optimizer: OptimizerSpec, model: ModelSpec, precision: Precision = "float32"
) -> None:
    """`CheckpointError` where the state is not one of this optimizer over this model."""
    buffers = {f"{name}/{buffer}" for name in model.trainable for buffer in optimizer.buffers}
    scaling = {"loss_scale", "finite_steps"} if precision == "fp16" else set()
    different = sorted(state.keys() ^ (buffers | scaling | {"step"}))
    if different:
        raise CheckpointError(
            f"the checkpoint's optimizer is not the recipe's {optimizer.name}: {different[0]} is in one only",
            remedy="a run goes on with the optimizer it began with; its recipe.toml should say so",
        )


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    hashes = {}
    for name, state in zip(_TENSOR_FILES, (checkpoint.model, checkpoint.optimizer), strict=True):
        contiguous = {key: np.ascontiguousarray(value).reshape(value.shape) for key, value in state.items()}
        data = serialized(contiguous, metadata={"format": "xtrain"})
        write_new(folder / name, data)
        hashes[name] = hashlib.sha256(data).hexdigest()
    progress = checkpoint.progress.to_dict()
    bound = asdict(checkpoint.bound) if checkpoint.bound else None
    hashes |= {"progress": digest(progress), "bound": digest(bound)}
    record = {"format": _FORMATS[-1], "sha256": hashes, "progress": progress, "bound": bound}
    write_new(folder / "progress.json", json.dumps(record, indent=2) + "\n")
    sync_folder(folder)


def _replace(target: Path, beside: Path) -> None:
    """Rename into place; a run that was set back to an earlier step meets its own old checkpoints."""
    aside = temporary(target, ASIDE)
    if os.path.lexists(target):
        target.rename(aside)
    try:
        beside.rename(target)
    except OSError:
        with suppress(OSError):  # of a disk that refuses this too, a resume puts it back
            aside.rename(target)
        raise
    sync_folder(target.parent)
    remove(aside)


def _read(path: Path) -> Checkpoint:
    record, bound = _record(path)
    weights, optimizer = (_tensors(path / name, record["sha256"][name]) for name in _TENSOR_FILES)
    return Checkpoint(weights, optimizer, Progress.from_dict(record["progress"]), bound)


def _record(path: Path) -> tuple[dict[str, Any], Bound | None]:
    """What progress.json says, and what of it the checkpoint belongs to."""
    record = read_json(path / "progress.json")
    if record["format"] not in _FORMATS:
        raise CheckpointError(
            f"its format is {record['format']}, this xtrain reads {', '.join(map(str, _FORMATS))}",
            where=path,
            remedy="use the xtrain that wrote it, or another of the run's checkpoints",
        )
    hashes, bound = record["sha256"], record.get("bound")
    _compare("progress.json", digest(record["progress"]), hashes["progress"])
    if record["format"] > 2:
        _compare("progress.json", digest(bound), hashes["bound"])
    return record, _bound(bound)


def _bound(found: Mapping[str, Any] | None) -> Bound | None:
    if found is None:
        return None
    metrics = Written(int(found["metrics"]["bytes"]), str(found["metrics"]["sha256"]))
    return Bound(str(found["recipe"]), str(found["data"]), str(found["backend"]), metrics)


def _tensors(path: Path, expected: str) -> State:
    data = content(path)
    _compare(path.name, hashlib.sha256(data).hexdigest(), expected)
    return dict(deserialized(data))


def _compare(name: str, found: str, expected: str) -> None:
    if found != expected:
        raise ValueError(f"{name} is not the file that was written (its hash differs)")
