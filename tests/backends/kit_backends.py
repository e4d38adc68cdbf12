"""Backends that lack something or are wrong in one row, each a package of its own."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutants
from xtrain_numpy.backend import NumpyBackend

from xtrain.errors import UnsupportedError
from xtrain.spec import (
    LSTM,
    SGD,
    Adam,
    CrossEntropy,
    Dropout,
    Flatten,
    Linear,
    LogSoftmax,
    ReLU,
)

CORE = (Flatten, Linear, ReLU, Dropout, LogSoftmax)
ZERO = "test_layers.py::test_relu_passes_no_gradient_at_zero"
"""The one row that `wrong_at_zero` fails."""


def refusing(**refuses: Callable[[Any], bool]) -> Callable[[str], mutants.Plugin]:
    """The NumPy backend without the layers, optimizers or losses for which a predicate is true."""

    def make(name: str) -> mutants.Plugin:
        def look(sort: str, value: Any, called: str = "") -> None:
            if sort in refuses and refuses[sort](value):
                kind = type(value).__name__
                raise UnsupportedError(f"backend {name} has no lowering for {sort} {kind} {called}")

        def layers(spec: Any) -> None:
            for node in spec.walk():
                look("layer", node.layer, node.path)

        def model(self: Any, spec: Any) -> Any:
            layers(spec)
            return NumpyBackend.model(self, spec)

        def optimizer(self: Any, spec: Any, lowered: Any) -> Any:
            look("optimizer", spec)
            return NumpyBackend.optimizer(self, spec, lowered)

        def loop(self: Any, lowered: Any, loss: Any, updates: Any) -> Any:
            look("loss", loss)
            return NumpyBackend.loop(self, lowered, loss, updates)

        def explain(self: Any, spec: Any, loss: Any, updates: Any) -> Any:
            layers(spec)
            look("loss", loss)
            look("optimizer", updates)
            return NumpyBackend.explain(self, spec, loss, updates)

        return mutants.Plugin(name, model=model, optimizer=optimizer, loop=loop, explain=explain)

    return make


def _not_plain(spec: Any) -> bool:
    """Whether it is more than SGD with momentum, dampening, Nesterov and weight decay."""
    plain = ("lr", "momentum", "dampening", "nesterov", "weight_decay")
    return not isinstance(spec, SGD) or spec != SGD(**{key: getattr(spec, key) for key in plain})


def _dies(node: Any, layer: Any) -> Any:
    os._exit(3)


def _wrong_at_zero(name: str) -> mutants.Plugin:
    def model(self: Any, spec: Any) -> Any:
        with mutants.lowering(ReLU, mutants._relu_one_at_zero):
            return NumpyBackend.model(self, spec)

    return mutants.Plugin(name, model=model)


BACKENDS: dict[str, Callable[[str], mutants.Plugin]] = {
    "core_alone": refusing(
        layer=lambda layer: not isinstance(layer, CORE),
        optimizer=_not_plain,
        loss=lambda loss: loss != CrossEntropy(),
    ),
    "no_lstm": refusing(layer=lambda layer: isinstance(layer, LSTM)),
    "no_adam": refusing(optimizer=lambda spec: isinstance(spec, Adam)),
    "nothing": refusing(layer=lambda layer: True),
    "dies": lambda name: mutants.wrong_layer(name, LogSoftmax, _dies),
    "wrong_at_zero": _wrong_at_zero,
}


def install(folder: Path, kind: str, name: str, deviations: str | None = None) -> None:
    """A package xtrain_NAME in a folder for PYTHONPATH, with a conformance.toml if one is given."""
    package = folder / f"xtrain_{name}"
    package.mkdir(parents=True)
    source = f"from kit_backends import BACKENDS\n\nPLUGIN = BACKENDS[{kind!r}]({name!r})\n"
    (package / "__init__.py").write_text(source)
    if deviations is not None:
        (package / "conformance.toml").write_text(deviations)
    offer(folder, f"xtrain_{name}", f"[xtrain.backends]\n{name} = xtrain_{name}:PLUGIN\n")


def offer(folder: Path, package: str, entries: str) -> None:
    """The metadata of a package that is there."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entries)
