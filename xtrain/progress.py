"""How far a run has come: all that a resume needs besides weights and optimizer state."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from xtrain.errors import CheckpointError
from xtrain.spec import Metrics


@dataclass
class Sums:
    """Metrics added up."""

    loss_sum: float = 0.0
    correct: int = 0
    count: int = 0
    weight: float = 0.0

    def add(self, metrics: Metrics) -> None:
        """One step more."""
        self.loss_sum += metrics.loss_sum
        self.correct += metrics.correct
        self.count += metrics.count
        self.weight += metrics.weight

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
        best_accuracy: highest test accuracy so far, None before the first evaluation.
        best_step: where it was reached.

    """

    epoch: int = 0
    step: int = 0
    batch: int = 0
    epoch_sums: Sums = field(default_factory=Sums)
    log_sums: Sums = field(default_factory=Sums)
    train_seconds: float = 0.0
    best_accuracy: float | None = None
    best_step: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which keeps every bit of a float."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Progress":
        """What `to_dict` gave."""
        try:
            sums = {key: Sums(**values[key]) for key in ("epoch_sums", "log_sums")}
            return cls(**{**values, **sums})
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"its progress is not what xtrain writes: {error}") from error
