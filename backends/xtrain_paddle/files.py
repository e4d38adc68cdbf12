"""Paddle's own files: `.pdparams` with the layers' tensors, `.pdopt` beside it with the optimizer's.

Both are pickled dictionaries of NumPy arrays, read and written here without Paddle.
"""

import pickle
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xtrain.errors import CheckpointError
from xtrain.spec import (
    LSTM,
    Adam,
    AdamW,
    BatchNorm2d,
    Conv2d,
    Linear,
    ModelSpec,
    Node,
    OptimizerSpec,
    RMSprop,
    State,
    from_bfloat16,
)
from xtrain_paddle.pickles import unpickle

_TABLE = "StructuredToParameterName@@"
_MOMENTS = {
    "sgd": {"momentum_buffer": "velocity"},
    "adam": {"exp_avg": "moment1", "exp_avg_sq": "moment2"},
    "adamw": {"exp_avg": "moment1", "exp_avg_sq": "moment2"},
    "rmsprop": {"square_avg": "mean_square", "grad_avg": "mean_grad", "momentum_buffer": "momentum"},
    "adagrad": {"sum": "moment"},
}
_POWERS = ("beta1_pow_acc", "beta2_pow_acc")
_KINDS = {Conv2d: "conv2d", Linear: "linear", BatchNorm2d: "batch_norm2d"}
_LATER = {"running_mean": ("_mean", "w_1"), "running_var": ("_variance", "w_2")}
_MOST = 2**31
_LONGEST = 200_000
"""Updates after which 0.999 to their power is 0 in float32."""


@dataclass(frozen=True)
class Place:
    """Where Paddle keeps one tensor."""

    keys: tuple[str, ...]
    """Its names in the file: a recurrent weight has two."""
    parameter: str
    """What Paddle calls it where the net's layers are the first of their process, in the model's order."""
    transposed: bool

    def turned(self, value: NDArray[Any]) -> NDArray[Any]:
        """From PyTorch's layout into Paddle's, and back."""
        return value.T if self.transposed else value


class PaddleFiles:
    """As `paddle.save` writes the state_dict of a layer and of an optimizer."""

    suffixes: tuple[str, ...] = (".pdparams",)
    beside = ".pdopt"

    def read(
        self, path: Path, model: ModelSpec, optimizer: OptimizerSpec | None
    ) -> tuple[State, State | None]:
        """The `.pdopt` is found by its name."""
        held, found = unpickle(path), _places(model)
        table = held.pop(_TABLE, {})
        weights: State = {}
        for name, place in found.items():
            for value in [held.pop(key) for key in place.keys if key in held]:
                weights.setdefault(name, place.turned(_array(value, name, path)))
        weights |= {name: _array(value, name, path) for name, value in held.items()}
        second = path.with_suffix(self.beside)
        if optimizer is None or not second.exists():
            return weights, None
        called = {name: _called(place, table) for name, place in found.items()}
        return weights, _moments(second, model, optimizer, called)

    def write(
        self, path: Path, model: ModelSpec, optimizer: OptimizerSpec, weights: State, moments: State | None
    ) -> None:
        """Parameters get the names they have in a fresh process, by which an optimizer's state is found."""
        held: dict[str, Any] = {}
        table = {}
        for name, place in _places(model).items():
            for key in place.keys:
                held[key], table[key] = place.turned(weights[name]), place.parameter
        _save(held | {_TABLE: table}, path)
        if moments is not None:
            kept = _kept(model, optimizer, moments)
            extra = {"step": int(moments["step"]), **_foreign(optimizer, moments)}
            _save(kept | extra | {_TABLE: {key: key for key in kept}}, path.with_suffix(self.beside))


def _places(model: ModelSpec) -> dict[str, Place]:
    counts: Counter[str] = Counter()
    return {name: place for node in model.walk() for name, place in _of(node, counts)}


def _of(node: Node, counts: Counter[str]) -> Iterator[tuple[str, Place]]:
    """Layers of a kind are numbered in the order they are made."""
    if isinstance(node.layer, LSTM):
        yield from _recurrent(node, counts)
    elif type(node.layer) in _KINDS:
        kind = _KINDS[type(node.layer)]
        prefix = f"{kind}_{counts[kind]}"
        counts[kind] += 1
        for name in node.tensors:
            own = name.removeprefix(f"{node.path}.")
            key, parameter = _LATER.get(own, (own, f"{own[0]}_0"))
            transposed = isinstance(node.layer, Linear) and own == "weight"
            yield name, Place((f"{node.path}.{key}",), f"{prefix}.{parameter}", transposed)
    else:  # of another package: its parameters bear their canonical names, in a file too
        for name in node.tensors:
            yield name, Place((name,), name, transposed=False)


def _recurrent(node: Node, counts: Counter[str]) -> Iterator[tuple[str, Place]]:
    """An nn.LSTM has the tensors of its cells once more as its own."""
    parameters = {"weight_ih": "w_0", "weight_hh": "w_1", "bias_ih": "b_0", "bias_hh": "b_1"}
    for name in node.tensors:
        own, layer = name.removeprefix(f"{node.path}.").rsplit("_l", 1)
        prefix = f"lstm_cell_{counts['lstm_cell'] + int(layer)}"
        keys = (name, f"{node.path}.{layer}.cell.{own}")
        yield name, Place(keys, f"{prefix}.{parameters[own]}", transposed=False)
    assert isinstance(node.layer, LSTM)
    counts["lstm_cell"] += node.layer.num_layers


def _array(value: Any, name: str, path: Path) -> NDArray[Any]:
    if not isinstance(value, np.ndarray):
        raise CheckpointError(f"{name} is a {type(value).__name__}, not a tensor", where=path)
    return from_bfloat16(value) if value.dtype == np.uint16 else value  # which is how Paddle saves bfloat16


def _called(place: Place, table: Any) -> Place:
    """With the name that the parameter had where the file comes from."""
    names = [table.get(key) for key in place.keys] if isinstance(table, Mapping) else []
    name = next((name for name in names if isinstance(name, str)), None)
    return place if name is None else Place(place.keys, name, place.transposed)


def _kept(model: ModelSpec, optimizer: OptimizerSpec, moments: State) -> dict[str, Any]:
    """What Paddle's own optimizer of that name keeps."""
    kept: dict[str, Any] = {}
    places, step = _places(model), int(moments["step"])
    for name in model.trainable:
        place, shape = places[name], model.tensors[name].shape
        for buffer, called in _MOMENTS[optimizer.name].items():
            if buffer not in optimizer.moments and not isinstance(optimizer, RMSprop):
                continue  # RMSProp keeps all three, used or not
            value = moments.get(f"{name}/{buffer}", np.zeros(shape, np.float32))
            if isinstance(optimizer, RMSprop) and buffer == "momentum_buffer":
                value = value * np.float32(optimizer.lr)  # Paddle's has the rate in it
            kept[f"{place.parameter}_{called}_0"] = place.turned(value)
        if isinstance(optimizer, Adam | AdamW):
            for power, beta in zip(_POWERS, optimizer.betas, strict=True):
                kept[f"{place.parameter}_{power}_0"] = np.array([beta ** (step + 1)], np.float32)
    return kept


def _foreign(optimizer: OptimizerSpec, moments: State) -> State:
    """What it does not keep, or otherwise, stands under its canonical name."""
    scaled = ("momentum_buffer",) if isinstance(optimizer, RMSprop) else ()
    return {name: value for name, value in moments.items() if name.rpartition("/")[2] in ("ema", *scaled)}


def _moments(path: Path, model: ModelSpec, optimizer: OptimizerSpec, places: Mapping[str, Place]) -> State:
    held = unpickle(path)
    for passed in (_TABLE, "LR_Scheduler"):
        held.pop(passed, None)
    counted = held.pop("step", None)
    if counted is not None and (type(counted) is not int or not 0 <= counted < _MOST):
        shown = repr(counted) if isinstance(counted, int | float | str) else f"a {type(counted).__name__}"
        remedy = "--weights-only leaves an optimizer state out"
        raise CheckpointError(f"its step is {shown:.80}", where=path, remedy=remedy)
    moments: State = {}
    powers: dict[str, float] = {}
    by_parameter = {places[name].parameter: name for name in model.trainable}
    known = {called: buffer for buffer, called in _MOMENTS[optimizer.name].items()}
    for key, found in held.items():
        value = _array(found, key, path)
        parts = re.fullmatch(rf"(.+)_({'|'.join([*known, *_POWERS])})_\d+", key)
        if parts is None or parts[1] not in by_parameter:
            moments[key] = value  # canonical, or not the model's
        elif parts[2] in _POWERS:
            powers[parts[2]] = float(value.reshape(-1)[0])
        else:
            name, buffer = by_parameter[parts[1]], known[parts[2]]
            if buffer not in optimizer.moments:
                continue
            if isinstance(optimizer, RMSprop) and buffer == "momentum_buffer":
                value = value / np.float32(optimizer.lr or 1)
            moments.setdefault(f"{name}/{buffer}", places[name].turned(value))
    moments |= {name: value for name, value in held.items() if "/" in name}  # exact, where both are there
    moments["step"] = np.array(_step(counted, powers, optimizer, bool(moments), path), np.int64)
    return moments


def _step(
    counted: int | None, powers: Mapping[str, float], optimizer: OptimizerSpec, moved: bool, path: Path
) -> int:
    """Updates made: as counted, or as the powers of Adam's betas tell; Paddle begins with the first power."""
    if not powers or not isinstance(optimizer, Adam | AdamW):
        return counted if counted is not None else int(moved)
    found = {}
    for power, beta in zip(_POWERS, optimizer.betas, strict=True):
        reached = np.multiply.accumulate(np.full(_LONGEST, beta, np.float32))
        found[power] = int(np.abs(reached - np.float32(powers.get(power, 0))).argmin())
    step = found["beta2_pow_acc"] if counted is None else counted
    expected = [beta ** (step + 1) for beta in optimizer.betas]
    given = [powers.get(power, -1.0) for power in _POWERS]
    if not np.allclose(given, expected, rtol=1e-2, atol=1e-30):
        raise CheckpointError(
            f"its beta powers are {given[0]:.6g} and {given[1]:.6g}, those of the optimizer's betas "
            f"{optimizer.betas} after {step} updates {expected[0]:.6g} and {expected[1]:.6g}",
            where=path,
            remedy="give the recipe it was trained with, or --weights-only",
        )
    return step


def _save(held: Mapping[str, Any], path: Path) -> None:
    whole = {
        key: value.copy(order="C") if isinstance(value, np.ndarray) else value for key, value in held.items()
    }
    with path.open("wb") as file:
        pickle.dump(whole, file, protocol=4)
