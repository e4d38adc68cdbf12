"""Weights from files that others have written: read, compared with a model, refused where they are none."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray

from xtrain import plugins
from xtrain.errors import CheckpointError, UsageError
from xtrain.spec import ModelSpec, Shape, State, from_bfloat16

_SUFFIX = ".safetensors"
_SHOWN = 3
"""Differences that an error names before it only counts them."""
_MOST_UPDATES = 2**31
_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",  # widened below
    **{f"{sign}{8 * size}": f"<{sign.lower()}{size}" for sign in "IU" for size in (1, 2, 4, 8)},
    "BOOL": "?",
}
"""NumPy's types by the names that safetensors gives them."""


def is_file(path: Path) -> bool:
    """True for a file, and for a name that ends as those of weights do and is no folder."""
    if os.path.isfile(path):  # unlike Path.is_file it takes any name
        return True
    return not os.path.isdir(path) and path.suffix in {_SUFFIX, *plugins.formats()}


def load(path: Path, model: ModelSpec) -> State:
    """Weights of `model` from a safetensors file, such as a PyTorch state_dict saved as one.

    Its counts of batches (`num_batches_tracked`), which nothing here uses, are passed over; values become
    float32, but where they are float64.

    Raises:
        UsageError: it is no safetensors file; the remedy says how to make one of it.
        CheckpointError: it can't be read, belongs to another model, or has values that are no weights.

    """
    if not os.path.isfile(path):
        raise UsageError("there is no such file", where=path)
    if path.suffix != _SUFFIX:
        raise UsageError(
            "is neither a run nor a .safetensors file",
            where=path,
            remedy=f"make one of it: xtrain convert {path} weights.safetensors --recipe RECIPE",
        )
    found = {name: value for name, value in read(path).items() if not name.endswith("num_batches_tracked")}
    remedy = "the recipe's model must be the one whose weights these are"
    compare(found, shapes(model), f"the weights of model {model.name}", path, remedy)
    return floats({name: found[name] for name in model.tensors}, path)


def shapes(model: ModelSpec) -> dict[str, Shape]:
    """The shape of each tensor of a model."""
    return {name: tensor.shape for name, tensor in model.tensors.items()}


def read(path: Path) -> State:
    """All tensors of a safetensors file, bfloat16 as float32; `CheckpointError` where one can't be read."""
    try:
        held = safetensors.deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
        odd = [f"{name} is {value['dtype']}" for name, value in held if value["dtype"] not in _TYPES]
        _refuse(odd, path)
        return {name: _array(value) for name, value in held}
    except (OSError, ValueError, LookupError, TypeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"can't be read as safetensors: {error}", where=path) from error


def _array(value: Mapping[str, Any]) -> NDArray[Any]:
    array: NDArray[Any] = np.frombuffer(value["data"], _TYPES[value["dtype"]]).reshape(value["shape"])
    return from_bfloat16(array) if value["dtype"] == "BF16" else array


def compare(found: State, wanted: Mapping[str, Shape], what: str, where: Path, remedy: str) -> None:
    """`CheckpointError` that names the first tensors which are missing, unexpected or of another shape."""
    wrong = [f"{name} is missing" for name in wanted if name not in found]
    wrong += [f"{name} is unexpected" for name in found if name not in wanted]
    wrong += [
        f"{name} has the shape {list(found[name].shape)}, not {list(shape)}"
        for name, shape in wanted.items()
        if name in found and found[name].shape != shape
    ]
    if wrong:
        raise CheckpointError(f"does not hold {what}: {_listed(wrong)}", where=where, remedy=remedy)


def floats(state: State, where: Path) -> State:
    """A state as float32, but where it is float64.

    `CheckpointError` where values are integers, truth values or complex numbers, or not finite.
    """
    _refuse([f"{name} is {value.dtype}" for name, value in state.items() if value.dtype.kind != "f"], where)
    wrong = {name: int(np.count_nonzero(~np.isfinite(value))) for name, value in state.items()}
    odd = [f"{name} has {count} of {state[name].size}" for name, count in wrong.items() if count]
    if odd:
        raise CheckpointError(
            f"has values that are infinite or not a number: {_listed(odd)}",
            where=where,
            remedy="take a checkpoint from before the training diverged",
        )
    return {name: v if v.dtype == np.float64 else v.astype(np.float32) for name, v in state.items()}


def count(value: NDArray[Any], where: Path) -> NDArray[np.int64]:
    """How many updates an optimizer has made; `CheckpointError` where that is no number from 0 on."""
    if value.dtype.kind in "iuf" and 0 <= value < _MOST_UPDATES and value == np.floor(value):
        return np.array(value, dtype=np.int64)
    raise CheckpointError(
        f"its optimizer has made {value} updates",
        where=where,
        remedy="--weights-only leaves an optimizer state out",
    )


def _refuse(odd: list[str], where: Path) -> None:
    """Types that no weights have."""
    if odd:
        raise CheckpointError(
            f"has tensors that are no weights: {_listed(odd)}",
            where=where,
            remedy="they are float16, bfloat16, float32 or float64: convert them where they come from",
        )


def _listed(wrong: list[str]) -> str:
    more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return "; ".join(wrong[:_SHOWN]) + more
