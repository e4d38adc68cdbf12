"""Levels: what a backend can do so far, and which rows of the suite say so.

An author reaches `core` first; the other three are independent of each other and need `core` alone.
"""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from xtrain.conformance.cases import LOSSES, Case
from xtrain.conformance.computed import UPDATES
from xtrain.spec import (
    LSTM,
    SGD,
    CrossEntropy,
    Dropout,
    Flatten,
    Last,
    Linear,
    LogSoftmax,
    ModelSpec,
    ReLU,
    Rows,
)
from xtrain.spec.layer import LAYERS
from xtrain.spec.loss import Loss
from xtrain.spec.optimizer import Optimizer

LEVELS = {
    "core": "fully connected nets, SGD, cross entropy",
    "images": "convolutions, pools, batch norm, residuals, augmentation",
    "optimizers": "every optimizer with every key of it, every loss",
    "sequences": "LSTM",
}
_CORE = (Flatten, Linear, ReLU, Dropout, LogSoftmax)
_SEQUENCES = (Rows, LSTM, Last)
_NAMED: dict[str, Optimizer | Loss] = {**UPDATES, **LOSSES}
_OF_SGD = {"name", "lr", "momentum", "dampening", "nesterov", "weight_decay"}


def needs(given: Iterable[Any]) -> frozenset[str]:
    """The levels beyond `core` that a row needs, by its parameters.

    Cases, models, optimizers, losses, and names that the suite has for the last two.
    """
    return frozenset(level for value in given for level in _of(value))


def _of(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return _of(_NAMED.get(value))
    if isinstance(value, Case):
        return _of(value.model)
    if isinstance(value, ModelSpec):
        return {_of_layer(type(node.layer)) for node in value.walk()} - {"core"}
    if isinstance(value, Optimizer):
        return () if isinstance(value, SGD) and _changed(value) <= _OF_SGD else ("optimizers",)
    if isinstance(value, Loss):
        return () if value == CrossEntropy() else ("optimizers",)
    return ()


def _of_layer(kind: type) -> str:
    if kind not in LAYERS.own.values():
        return "other packages"  # their rows are counted, and belong to no level
    return "core" if issubclass(kind, _CORE) else "sequences" if issubclass(kind, _SEQUENCES) else "images"


def _changed(spec: Optimizer) -> set[str]:
    """The keys that do not have their defaults."""
    return {field.name for field in fields(spec) if getattr(spec, field.name) != field.default}
