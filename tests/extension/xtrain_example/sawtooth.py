"""A schedule: the learning rate falls to a tenth, and starts again."""

from typing import Literal

from xtrain.extend import Clock, Count, Schedule, frozen


@frozen
class Sawtooth(Schedule):
    """Falls in a straight line over `period` epochs (or steps, with `by`)."""

    name: Literal["sawtooth"] = "sawtooth"
    period: Count

    def scheduled(self, lr: float, clock: Clock) -> float:
        """Learning rate without warm-up."""
        share = clock.passed(self.by) % self.period / self.period
        return lr * (1 - 0.9 * share)
