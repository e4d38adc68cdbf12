"""One recipe, every deep-learning framework, the same numbers.

    run = xtrain.run("digits_mlp", backend="torch", overrides={"optimizer.lr": 0.05})
    run.epochs[-1]["test_accuracy"]

Names are loaded when they are first used: `import xtrain` costs next to nothing.
"""

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xtrain import models
    from xtrain.api import evaluate, run
    from xtrain.recipe import Recipe, load_recipe
    from xtrain.runs.run import Run

__all__ = ["Recipe", "Run", "evaluate", "load_recipe", "models", "run"]

_HOMES = {
    "Recipe": "xtrain.recipe",
    "Run": "xtrain.runs.run",
    "evaluate": "xtrain.api",
    "load_recipe": "xtrain.recipe",
    "run": "xtrain.api",
}

logging.getLogger(__name__).addHandler(logging.NullHandler())  # shown where a program asks for it


def __getattr__(name: str) -> Any:
    if name == "models":
        return importlib.import_module("xtrain.models")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'xtrain' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
