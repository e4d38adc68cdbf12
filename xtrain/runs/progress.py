"""How far a run has come: all that a resume needs besides weights and optimizer state."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from xtrain.recipe.schedules import Reductions
from xtrain.recipe.watch import Watch
from xtrain.spec import Metrics


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
        kinds = {
            "epoch_sums": Sums,
            "log_sums": Sums,
            "best": Watch,
            "stopping": Watch,
            "plateau": Reductions,
        }
        try:
            return cls(**{**values, **{key: kind(**values[key]) for key, kind in kinds.items()}})
        except (KeyError, TypeError) as error:
            raise ValueError(f"its progress is not what xtrain writes: {error}") from error
