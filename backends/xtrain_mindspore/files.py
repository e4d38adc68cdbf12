"""MindSpore's own file: one `.ckpt` with a net's parameters and its optimizer's."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xtrain.errors import CheckpointError
from xtrain.spec import Adagrad, Adam, AdamW, BatchNorm2d, ModelSpec, OptimizerSpec, State

_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_PREFIXES: dict[str, dict[str, tuple[str, ...]]] = {
    "sgd": {"momentum_buffer": ("moments", "accum")},
    "adam": {"exp_avg": ("moment1", "exp_avg"), "exp_avg_sq": ("moment2", "exp_avg_sq")},
    "adamw": {"exp_avg": ("exp_avg", "moment1"), "exp_avg_sq": ("exp_avg_sq", "moment2")},
    "rmsprop": {"square_avg": ("mean_square",), "grad_avg": ("mean_grad",), "momentum_buffer": ("moment",)},
    "adagrad": {"sum": ("accum",)},
}
"""Prefixes of a parameter's name; the first is written, and SGD's both: nn.Momentum and nn.SGD differ."""
_STEPS = ("global_step", "state_step", "step_t")
_OWN = {"learning_rate", "momentum", "beta1_power", "beta2_power", "epoch_num", "step_num", *_STEPS}
"""What an optimizer or a training keeps once."""
_MOST = 2**31
_UNUSED = ("stat", "vhat", "max_exp_avg_sq")


class MindSporeFiles:
    """Read by `mindspore.load_checkpoint`: the format is protobuf, there is nothing in it to run."""

    suffixes: tuple[str, ...] = (".ckpt",)
    beside = ""

    def read(
        self, path: Path, model: ModelSpec, optimizer: OptimizerSpec | None
    ) -> tuple[State, State | None]:
        """Optimizer state is found by its prefixes, such as `moment1.fc1.weight`."""
        held = _load(path)
        names = _names(model)
        weights = {name: held.pop(called) for name, called in names.items() if called in held}
        own = {called: held.pop(called) for called in _OWN & held.keys()}
        owned = [
            called
            for called in held
            if called.partition(".")[0] in _prefixes() and called.partition(".")[2] in names.values()
        ]
        moved = {called: held.pop(called) for called in owned}
        weights |= held  # not the model's
        if optimizer is None or not (moved or own.keys() & {*_STEPS}):
            return weights, None
        return weights, _moments(moved, own, model, optimizer, path)

    def write(
        self, path: Path, model: ModelSpec, optimizer: OptimizerSpec, weights: State, moments: State | None
    ) -> None:
        """Names are those of nn.Conv2d, nn.Dense, nn.BatchNorm2d and nn.LSTM."""
        from mindspore import Tensor, save_checkpoint

        names = _names(model)
        held: State = {called: weights[name] for name, called in names.items()}
        if moments is not None:
            held |= _kept(names, model, optimizer, moments)
        with _hushed():
            save_checkpoint([{"name": name, "data": Tensor(data)} for name, data in held.items()], str(path))


def _load(path: Path) -> State:
    from mindspore import load_checkpoint

    try:
        with _hushed():
            held = load_checkpoint(str(path))
        return {name: _array(value) for name, value in held.items() if not isinstance(value, str)}
    except Exception as error:  # whatever a damaged file may make it raise
        text = str(error).strip().splitlines()
        problem = f"mindspore.load_checkpoint refuses it: {text[0] if text else type(error).__name__}"
        raise CheckpointError(problem, where=path, remedy="the file is damaged or of another kind") from error


@contextmanager
def _hushed() -> Iterator[None]:
    """What MindSpore logs comes as an exception too."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _array(value: Any) -> NDArray[Any]:
    from mindspore import dtype

    array: NDArray[Any] = (value.float() if value.dtype == dtype.bfloat16 else value).asnumpy()
    return array


def _names(model: ModelSpec) -> dict[str, str]:
    """MindSpore's name of every tensor."""
    return {
        name: f"{node.path}.{_NORM[name.rpartition('.')[2]]}" if isinstance(node.layer, BatchNorm2d) else name
        for node in model.walk()
        for name in node.tensors
    }


def _prefixes() -> set[str]:
    known = {prefix for buffers in _PREFIXES.values() for prefixes in buffers.values() for prefix in prefixes}
    return {*known, *_UNUSED, "ema"}


def _kept(names: dict[str, str], model: ModelSpec, optimizer: OptimizerSpec, moments: State) -> State:
    """What MindSpore's own optimizers keep.

    They are nn.SGD and nn.Momentum, nn.Adam, and of mindspore.experimental.optim AdamW, RMSprop and Adagrad,
    whose formulas are PyTorch's.
    """
    kept: State = {}
    step = int(moments["step"])
    for name in model.trainable:
        for buffer, prefixes in _PREFIXES[optimizer.name].items():
            if buffer in optimizer.moments:
                for prefix in prefixes if optimizer.name == "sgd" else prefixes[:1]:
                    kept[f"{prefix}.{names[name]}"] = moments[f"{name}/{buffer}"]
        if optimizer.name == "sgd":  # 1 until the first update, which leaves the dampening out
            kept[f"stat.{names[name]}"] = np.full(model.tensors[name].shape, float(step == 0), np.float32)
        if optimizer.ema is not None:
            kept[f"ema.{names[name]}"] = moments[f"{name}/ema"]
    kept["global_step"] = np.array([step], np.int32)
    match optimizer:
        case Adam():
            for number, beta in enumerate(optimizer.betas, 1):
                kept[f"beta{number}_power"] = np.array(beta**step, np.float32)
        case AdamW():
            kept["state_step"] = np.array(step, np.int32)
        case Adagrad():
            kept["step_t"] = np.array(step, np.int32)
    return kept


def _moments(moved: State, own: State, model: ModelSpec, optimizer: OptimizerSpec, path: Path) -> State:
    counts = [_count(own[called], called, path) for called in reversed(_STEPS) if called in own]
    step = counts[0] if counts else int(bool(moved))
    moments: State = {"step": np.array(step, np.int64)}
    for name, called in _names(model).items():
        for buffer, prefixes in {**_PREFIXES[optimizer.name], "ema": ("ema",)}.items():
            found = [moved.pop(f"{prefix}.{called}") for prefix in prefixes if f"{prefix}.{called}" in moved]
            if found and buffer in optimizer.buffers:
                moments[f"{name}/{buffer}"] = found[0]
    moments |= {key: value for key, value in moved.items() if key.partition(".")[0] not in _UNUSED}
    if isinstance(optimizer, Adam):
        _check_powers(own, optimizer, step, path)
    return moments


def _count(value: NDArray[Any], called: str, path: Path) -> int:
    """Updates made; `CheckpointError` where that is no number from 0 on."""
    count = value.reshape(-1)
    if count.size != 1 or count.dtype.kind not in "iuf" or not 0 <= count[0] < _MOST or count[0] % 1:
        remedy = "--weights-only leaves an optimizer state out"
        raise CheckpointError(f"its {called} is {count[:3].tolist()}", where=path, remedy=remedy)
    return int(count[0])


def _check_powers(own: State, optimizer: Adam, step: int, path: Path) -> None:
    for number, beta in enumerate(optimizer.betas, 1):
        power = own.get(f"beta{number}_power")
        if power is not None and not np.allclose(power, beta**step, rtol=1e-2, atol=1e-30):
            raise CheckpointError(
                f"its beta{number}_power is {float(power.reshape(-1)[0]):.6g}, {beta} to the power of its "
                f"{step} updates is {beta**step:.6g}",
                where=path,
                remedy="give the recipe it was trained with, or --weights-only",
            )
