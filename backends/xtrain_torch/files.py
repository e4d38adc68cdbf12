"""PyTorch's own files: a state_dict, alone or beside an optimizer's in a general checkpoint."""

import pickle
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xtrain.errors import CheckpointError, UnsupportedError
from xtrain.spec import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    BatchNorm2d,
    ModelSpec,
    OptimizerSpec,
    RMSprop,
    State,
)
from xtrain.system import opcodes

if TYPE_CHECKING:
    from torch.optim import Optimizer

_WEIGHTS = ("model_state_dict", "state_dict", "model")
_OPTIMIZER = ("optimizer_state_dict", "optimizer")
_COUNT = "num_batches_tracked"
_MOST = 2**31
_MORE = frozenset(["BINPERSID", "NEWOBJ"])
"""Opcodes of tensors: their storages, and types of their own."""
_MALFORMED = (
    OSError,
    ValueError,
    LookupError,
    EOFError,
    RuntimeError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
)
_PREFIX = "module."
"""What DataParallel puts before every name."""


class TorchFiles:
    """Read by `torch.load(weights_only=True)` alone, which runs nothing of a file."""

    suffixes: tuple[str, ...] = (".pth", ".pt")
    beside = ""

    def read(
        self, path: Path, model: ModelSpec, optimizer: OptimizerSpec | None
    ) -> tuple[State, State | None]:
        """A plain state_dict, or the usual general checkpoint of several."""
        held = _load(path)
        found = _first(held, _WEIGHTS)
        try:
            named = _once(held if found is None else found)
            weights = {
                name: _array(value, name) for name, value in named.items() if not name.endswith(_COUNT)
            }
            state = None if found is None or optimizer is None else _first(held, _OPTIMIZER)
            if state is None or optimizer is None:
                return weights, None
            moments = _moments(state, list(weights), model, optimizer, path) | _averages(held)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
            raise CheckpointError(f"is no state_dict of tensors: {error}", where=path) from error
        if "step" not in moments and "step" in held:
            moments["step"] = _count(held["step"], path)
        # SGD does not count; what has a state was updated once at least.
        return weights, {"step": np.array(bool(state["state"]), np.int64)} | moments

    def write(
        self, path: Path, model: ModelSpec, optimizer: OptimizerSpec, weights: State, moments: State | None
    ) -> None:
        """A plain state_dict where there is no optimizer state."""
        import torch

        state = _state_dict(model, weights, 0 if moments is None else int(moments["step"]))
        if moments is None:
            torch.save(state, path)
            return
        averages = {name: torch.from_numpy(moments[f"{name}/ema"]) for name in _averaged(model, optimizer)}
        held = {
            "model_state_dict": state,
            "optimizer_state_dict": _optimizer_dict(model, optimizer, weights, moments),
            "step": int(moments["step"]),
        }
        torch.save(held | ({"ema_state_dict": averages} if averages else {}), path)


def _load(path: Path) -> Mapping[str, Any]:
    import torch

    _check_pickles(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # of what it can't read, which it then says
            held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file may make it raise
        named = re.search(r"GLOBAL (\S+)", str(error))  # its own advice is to run the file
        reason = f": it names {named[1]}" if named else ""
        raise _unreadable(reason, path) from error
    if not isinstance(held, Mapping) or not all(isinstance(name, str) for name in held):
        raise CheckpointError(f"holds a {type(held).__name__}, not tensors by name", where=path)
    return held


def _check_pickles(path: Path) -> None:
    """`CheckpointError` for what would crash torch.load or never end in it."""
    try:
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                _check_archive(zipfile.ZipFile(file), path.stat().st_size)
            else:  # before PyTorch 1.6: three pickles that say what it is, the content, its keys
                opcodes.check(file, 5, _MORE)
    except _MALFORMED as error:
        raise _unreadable(f": {error or type(error).__name__}", path) from error


def _check_archive(archive: zipfile.ZipFile, size: int) -> None:
    for member in archive.infolist():
        if member.file_size > size:  # PyTorch does not compress
            raise pickle.UnpicklingError("it is larger unpacked than the file")
        if member.filename.endswith("data.pkl"):
            opcodes.scan(archive.read(member), more=_MORE)


def _unreadable(reason: str, path: Path) -> CheckpointError:
    return CheckpointError(
        f"is nothing that torch.load(weights_only=True) reads{reason}",
        where=path,
        remedy="nothing of it was run; don't trust where it came from",
    )


def _first(held: Mapping[str, Any], names: Iterable[str]) -> Mapping[str, Any] | None:
    return next((held[name] for name in names if isinstance(held.get(name), Mapping)), None)


def _bare(name: str) -> str:
    return name.removeprefix(_PREFIX)


def _once(named: Mapping[str, Any]) -> dict[str, Any]:
    """By bare name; `ValueError` where two names become one."""
    bare: dict[str, Any] = {}
    for name, value in named.items():
        if not isinstance(name, str):
            raise TypeError(f"a tensor has the name {name!r}, not a text")
        if _bare(name) in bare:
            raise ValueError(f"it has both {_bare(name)} and {_PREFIX}{_bare(name)}")
        bare[_bare(name)] = value
    return bare


def _count(value: Any, path: Path) -> NDArray[Any]:
    """Updates made; `CheckpointError` where that is no number from 0 on."""
    import torch

    value = value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else value
    if type(value) not in (int, float) or not 0 <= value < _MOST or value != int(value):
        shown = value if isinstance(value, int | float | str) else f"a {type(value).__name__}"
        raise CheckpointError(
            f"its step is {shown!r}", where=path, remedy="--weights-only leaves an optimizer state out"
        )
    return np.array(int(value), np.int64)


def _array(value: Any, name: str) -> NDArray[Any]:
    """Floats, those of less than 32 bits widened; the caller refuses what is not."""
    import torch

    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{name} is a {type(value).__name__}, not a tensor")
    if value.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        raise TypeError(f"{name} is {str(value.dtype).removeprefix('torch.')}, and no weights are")
    plain = value.detach() if value.dtype == torch.float64 else value.detach().float()
    array: NDArray[Any] = plain.numpy()
    return array


def _averages(held: Mapping[str, Any]) -> State:
    return {
        f"{_bare(name)}/ema": _array(value, name) for name, value in held.get("ema_state_dict", {}).items()
    }


def _averaged(model: ModelSpec, optimizer: OptimizerSpec) -> tuple[str, ...]:
    return model.trainable if optimizer.ema is not None else ()


def _moments(
    state: Mapping[str, Any], declared: list[str], model: ModelSpec, optimizer: OptimizerSpec, path: Path
) -> State:
    """By canonical name, and `step` where it counts.

    A state_dict has parameters by number, in the order of `net.parameters()`.
    """
    names = _numbered(state["param_groups"], declared, model, optimizer)
    moments: State = {}
    steps = set()
    for number, held in state["state"].items():
        name = names.get(number, f"parameter {number}")
        for key, value in held.items():
            if key == "step":
                steps.add(int(_count(value, path)))
            elif value is not None:
                moments[f"{name}/{key}"] = _array(value, f"{name}/{key}")
    if len(steps) > 1:
        raise ValueError(f"its parameters were updated {', '.join(map(str, sorted(steps)))} times")
    if not moments:  # before its first update
        moments = {
            f"{name}/{buffer}": np.zeros(model.tensors[name].shape, np.float32)
            for name in model.trainable
            for buffer in optimizer.moments
        }
    return moments | ({"step": np.array(steps.pop(), np.int64)} if steps else {})


def _numbered(
    groups: list[dict[str, Any]], declared: list[str], model: ModelSpec, optimizer: OptimizerSpec
) -> dict[int, str]:
    numbers = [number for group in groups for number in group["params"]]
    trainable = set(model.trainable)
    orders = [[name for name in declared if name in trainable]]
    if all("param_names" in group for group in groups):
        orders = [[_bare(name) for name in group["param_names"]] for group in groups]
    elif len(groups) > 1:
        decayed = optimizer.decayed(model)
        orders = [[name for name in orders[0] if (name in decayed) is kept] for kept in (True, False)]
        if [len(order) for order in orders] != [len(group["params"]) for group in groups]:
            raise ValueError("its parameter groups have no param_names: which is which can't be told")
    return dict(zip(numbers, (name for order in orders for name in order), strict=False))


def _state_dict(model: ModelSpec, weights: State, steps: int) -> dict[str, Any]:
    """With the count of batches that nn.BatchNorm2d keeps too."""
    import torch

    state: dict[str, Any] = {}
    for node in model.walk():
        state |= {name: torch.from_numpy(weights[name]) for name in node.tensors}
        if isinstance(node.layer, BatchNorm2d):
            state[f"{node.path}.{_COUNT}"] = torch.tensor(steps)
    return state


def _optimizer_dict(
    model: ModelSpec, optimizer: OptimizerSpec, weights: State, moments: State
) -> dict[str, Any]:
    """Of the torch.optim optimizer with the same formula, each kernel left to the reader.

    One group of parameters, or, where some are spared the decay, those that decay and those that do not.
    """
    import torch

    parameters = {name: torch.nn.Parameter(torch.from_numpy(weights[name])) for name in model.trainable}
    decayed = optimizer.decayed(model)
    parts = [[name for name in parameters if (name in decayed) is kept] for kept in (True, False)]
    groups = [
        {"params": [parameters[name] for name in names], "param_names": names, "weight_decay": decay}
        for names, decay in zip(parts, (optimizer.weight_decay, 0.0), strict=True)
        if names
    ]
    filled = _native(optimizer, groups)
    for name, parameter in parameters.items() if moments["step"] else ():
        held = {buffer: torch.from_numpy(moments[f"{name}/{buffer}"]) for buffer in optimizer.moments}
        # SGD would carry a count along and never raise it.
        count = {} if isinstance(optimizer, SGD) else {"step": torch.tensor(float(moments["step"]))}
        filled.state[parameter] = count | held
    state: dict[str, Any] = filled.state_dict()
    return state


def _native(spec: OptimizerSpec, groups: list[dict[str, Any]]) -> "Optimizer":
    import torch

    match spec:
        case SGD():
            momentum, nesterov = spec.momentum, spec.nesterov
            return torch.optim.SGD(groups, spec.lr, momentum, spec.dampening, nesterov=nesterov)
        case Adam() | AdamW():
            kind = torch.optim.AdamW if isinstance(spec, AdamW) else torch.optim.Adam
            return kind(groups, spec.lr, spec.betas, spec.eps)
        case RMSprop():
            momentum, centered = spec.momentum, spec.centered
            return torch.optim.RMSprop(
                groups, spec.lr, spec.alpha, spec.eps, momentum=momentum, centered=centered
            )
        case Adagrad():
            return torch.optim.Adagrad(groups, spec.lr, spec.lr_decay, eps=spec.eps)
    raise UnsupportedError(f"backend torch has no optimizer {spec!r}")
