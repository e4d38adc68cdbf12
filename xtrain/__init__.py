"""One recipe, every deep-learning framework, the same numbers.

    run = xtrain.run("digits_mlp", backend="torch", overrides={"optimizer.lr": 0.05})
    run.best["test_accuracy"]
    model = xtrain.load(run)
    model.predict(images)

Names are loaded when they are first used: `import xtrain` costs next to nothing.
"""

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xtrain import errors, models
    from xtrain.api import convert, evaluate, run
    from xtrain.errors import XtrainError
    from xtrain.inference.model import TrainedModel, load
    from xtrain.parity.front import parity
    from xtrain.recipe import Recipe, load_recipe
    from xtrain.runs.run import Run
    from xtrain.training.observers import EpochRecord, Observer, Start, TrainRecord

    __version__: str

__all__ = [
    "EpochRecord",
    "Observer",
    "Recipe",
    "Run",
    "Start",
    "TrainRecord",
    "TrainedModel",
    "XtrainError",
    "__version__",
    "convert",
    "errors",
    "evaluate",
    "load",
    "load_recipe",
    "models",
    "parity",
    "run",
]

_HOMES = {
    "EpochRecord": "xtrain.training.observers",
    "Observer": "xtrain.training.observers",
    "Recipe": "xtrain.recipe",
    "Run": "xtrain.runs.run",
    "Start": "xtrain.training.observers",
    "TrainRecord": "xtrain.training.observers",
    "TrainedModel": "xtrain.inference.model",
    "XtrainError": "xtrain.errors",
    "convert": "xtrain.api",
    "evaluate": "xtrain.api",
    "load": "xtrain.inference.model",
    "load_recipe": "xtrain.recipe",
    "run": "xtrain.api",
}
_MODULES = ("errors", "models", "parity")  # the last is a function too

logging.getLogger(__name__).addHandler(logging.NullHandler())  # shown where a program asks for it


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"xtrain.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name == "__version__":
        return importlib.import_module("xtrain.system.distribution").version()
    raise AttributeError(f"module 'xtrain' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
