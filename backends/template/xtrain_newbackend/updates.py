"""The update formulas of the optimizers, each with the terms of its keys."""

from collections.abc import Callable
from typing import Any

from xtrain.spec import Lowerings

UPDATES: Lowerings[Callable[..., Any]] = Lowerings("newbackend", "optimizer")
