"""The lowered losses, each with its term: the sum over the samples, never the mean, which is the plan's."""

from collections.abc import Callable
from typing import Any

from xtrain.spec import Lowerings

LOSSES: Lowerings[Callable[..., Any]] = Lowerings("newbackend", "loss")
