"""How far a run has come: all that a resume needs besides weights and optimizer state."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, TypeVar

from xtrain.recipe.schedules import Reductions
from xtrain.recipe.watch import Watch
from xtrain.spec import Metrics

T = TypeVar("T")

_NUMBERS: Mapping[type, tuple[type, ...]] = {float: (int, float), type(None): (int, float, type(None))}
"""What may stand where a default is of a type."""


@dataclass
class Sums:
    """Metrics added up."""

    loss_sum: float = 0.0
    correct: int = 0
    count: int = 0
    weight: float = 0.0

    def add(self, metrics: Metrics, count: int, weight: float) -> None:
        """Add a step of `count` samples, which together weigh `weight` in a mean."""
        self.loss_sum += metrics.loss_sum
        self.correct += metrics.correct
        self.count += count
        self.weight += weight

    @property
    def loss(self) -> float:
        """Mean over the samples by their weights; NaN where there are none."""
        return self.loss_sum / self.weight if self.weight else math.nan

    @property
    def accuracy(self) -> float:
        """Fraction of 1; NaN where there are no samples."""
        return self.correct / self.count if self.count else math.nan


@dataclass
class Progress:
    """Counts from the start of the run, over all its sessions.

    Args:
        epoch: epochs trained and evaluated.
        step: updates made.
        batch: batches done of the epoch under way.
        epoch_sums: over the epoch under way.
        log_sums: since the last train record.
        train_seconds: spent on the epoch under way.
        best: of the figure that `loop.monitor` names, and how long ago.
        best_step: where it was reached.
        stopping: what early stopping has seen.
        plateau: what a schedule that waits for a plateau has seen and done.
        restored: the weights are those of the best checkpoint, taken back at the end.

    """

    epoch: int = 0
    step: int = 0
    batch: int = 0
    epoch_sums: Sums = field(default_factory=Sums)
    log_sums: Sums = field(default_factory=Sums)
    train_seconds: float = 0.0
    best: Watch = field(default_factory=Watch)
    best_step: int = 0
    stopping: Watch = field(default_factory=Watch)
    plateau: Reductions = field(default_factory=Reductions)
    restored: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which keeps every bit of a float."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Progress":
        """What `to_dict` gave; `ValueError` for anything else."""
        try:
            return _typed(cls, values)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"its progress is not what xtrain writes: {error}") from error


def _typed(kind: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass of numbers and of others like it. `TypeError` where a value is of another type."""
    given = {}
    for key, default in vars(kind()).items():
        value = values[key]
        if is_dataclass(default):
            value = _typed(type(default), value)
        elif not isinstance(value, _NUMBERS.get(type(default), type(default))):
            raise TypeError(f"{key} is {value!r:.80}")
        given[key] = value
    if unknown := values.keys() - given.keys():
        raise TypeError(f"{min(unknown)!r} is unknown")
    return kind(**given)
