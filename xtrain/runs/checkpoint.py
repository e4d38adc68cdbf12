"""Canonical state <-> safetensors: a folder that is either whole or not there.

`checkpoints/step-N/` holds `weights.safetensors`, `optimizer.safetensors` and `progress.json`, which also
has the hashes of all three. It is written beside, synced and renamed; `last` and `best` are links.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

from xtrain.errors import CheckpointError
from xtrain.runs.progress import Progress
from xtrain.spec import ModelSpec, OptimizerSpec, Precision, State
from xtrain.system.files import point, sync, sync_folder

_FORMAT = 2
_TENSOR_FILES = ("weights.safetensors", "optimizer.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run goes on from, under any backend."""

    model: State
    optimizer: State
    progress: Progress


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write `folder/step-N` and let `last` resolve to it. `CheckpointError` where the disk refuses."""
    name = f"step-{checkpoint.progress.step}"
    beside = folder / f".{name}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        _write(beside, checkpoint)
        _replace(folder / name, beside)
        point(folder / "last", name)
    except (OSError, safetensors.SafetensorError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise CheckpointError(
            f"the checkpoint can't be written: {error}",
            where=folder / name,
            remedy="earlier checkpoints are untouched; make room, then resume the run",
        ) from error
    return folder / name


def mark_last(folder: Path, step: int) -> None:
    """Let `last` resolve to the checkpoint of a step, from which the run is about to go on."""
    point(folder / "last", f"step-{step}")


def mark_best(folder: Path, step: int) -> None:
    """Let `best` resolve to the checkpoint of a step."""
    point(folder / "best", f"step-{step}")


def load(path: Path, model: ModelSpec) -> Checkpoint:
    """Read a checkpoint of `model`. `CheckpointError` where it is damaged or belongs to another model."""
    try:
        record = json.loads((path / "progress.json").read_text(encoding="utf-8"))
        if record["format"] != _FORMAT:
            raise CheckpointError(f"its format is {record['format']}, this xtrain reads {_FORMAT}")
        hashes, progress = record["sha256"], Progress.from_dict(record["progress"])
        _compare("progress.json", _digest(record["progress"]), hashes["progress"])
        weights, optimizer = (_read(path / name, hashes[name]) for name in _TENSOR_FILES)
    except (OSError, ValueError, KeyError, TypeError, CheckpointError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"is damaged or not a checkpoint: {error}",
            where=path,
            remedy="resume or evaluate another of the run's checkpoints",
        ) from error
    _check_model(weights, model, path)
    return Checkpoint(weights, optimizer, progress)


def averaged(model: State, optimizer: State) -> State:
    """The weights that evaluation uses: their moving averages where the optimizer keeps them (`ema`)."""
    averages = {name: optimizer[f"{name}/ema"] for name in model if f"{name}/ema" in optimizer}
    return model | averages if int(optimizer["step"]) else model


def prune(folder: Path, keep: int, best_step: int) -> None:
    """Remove all checkpoints but the last `keep` and the best."""
    steps = sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))
    for step in steps[:-keep]:
        if step != best_step:
            shutil.rmtree(folder / f"step-{step}", ignore_errors=True)


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
    for name, state in zip(_TENSOR_FILES, (checkpoint.model, checkpoint.optimizer), strict=True):
        contiguous = {key: np.ascontiguousarray(value).reshape(value.shape) for key, value in state.items()}
        save_file(contiguous, folder / name, metadata={"format": "xtrain"})
        sync(folder / name)
    progress = checkpoint.progress.to_dict()
    hashes = {name: _sha256(folder / name) for name in _TENSOR_FILES} | {"progress": _digest(progress)}
    record = {"format": _FORMAT, "sha256": hashes, "progress": progress}
    (folder / "progress.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    sync(folder / "progress.json")
    sync_folder(folder)


def _replace(target: Path, beside: Path) -> None:
    """Rename into place; a run that was set back to an earlier step meets its own old checkpoints."""
    if target.exists():
        old = target.with_name(f".old-{target.name}.{os.getpid()}")
        target.rename(old)
        beside.rename(target)
        shutil.rmtree(old)
    else:
        beside.rename(target)
    sync_folder(target.parent)


def _read(path: Path, expected: str) -> State:
    _compare(path.name, _sha256(path), expected)
    return dict(load_file(path))


def _compare(name: str, found: str, expected: str) -> None:
    if found != expected:
        raise CheckpointError(f"{name} is not the file that was written (its hash differs)")


def _digest(progress: Mapping[str, Any]) -> str:
    """Of the values, however they are laid out."""
    return hashlib.sha256(json.dumps(progress, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_model(weights: State, model: ModelSpec, path: Path) -> None:
    wanted = {name: tensor.shape for name, tensor in model.tensors.items()}
    found = {name: value.shape for name, value in weights.items()}
    if wanted == found:
        return
    different = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    name = different[0]
    raise CheckpointError(
        f"belongs to another model: {len(different)} tensors differ, the first is {name}, "
        f"{_shape(found.get(name))} in the checkpoint and {_shape(wanted.get(name))} in model {model.name}",
        where=path,
    )


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else str(list(shape))
