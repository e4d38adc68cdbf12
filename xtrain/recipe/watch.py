"""A figure watched from epoch to epoch: whether it still gets better."""

from dataclasses import dataclass
from typing import Literal

Metric = Literal["train_loss", "train_accuracy", "val_loss", "val_accuracy", "test_loss", "test_accuracy"]
"""A figure of an epoch, by its name in `metrics.jsonl`."""

Mode = Literal["min", "max"]


def mode_of(metric: Metric) -> Mode:
    """Losses should fall, accuracies rise."""
    return "min" if metric.endswith("_loss") else "max"


@dataclass
class Watch:
    """The best value so far, None before the first, and the epochs since it was reached."""

    best: float | None = None
    waited: int = 0

    def update(self, value: float, mode: Mode, least: float = 0.0) -> bool:
        """Take in an epoch's value; True where it is better than the best by more than `least`."""
        gain = 0.0 if self.best is None else self.best - value if mode == "min" else value - self.best
        if self.best is None or gain > least:
            self.best, self.waited = value, 0
            return True
        self.waited += 1
        return False
