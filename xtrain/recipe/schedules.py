"""Learning rate by step: schedules as values, with names, arguments and formulas of torch.optim.lr_scheduler.

A schedule counts finished epochs, or with `by` = "step" finished steps; a warm-up, in steps, multiplies what
the schedule gives at that place, and does not shift it.
"""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

from pydantic import Field

from xtrain.recipe.watch import Metric, Mode, Watch, mode_of
from xtrain.spec.base import (
    Count,
    Counts,
    Fraction,
    Interval,
    NonNegative,
    NonNegativeInt,
    Positive,
    epochs_of,
    frozen,
)
from xtrain.spec.parts import Parts


@dataclass(frozen=True)
class Clock:
    """Where a run stands: epoch and step under way, counted from 1; how long both are.

    `reductions`: how often a plateau has lowered the learning rate.
    """

    epoch: int
    step: int
    steps_per_epoch: int
    epochs: int
    reductions: int = 0

    def passed(self, by: str) -> int:
        """Epochs or steps that are done."""
        return self.epoch - 1 if by == "epoch" else self.step - 1

    def total(self, by: str) -> int:
        """Epochs or steps of the whole run."""
        return self.epochs if by == "epoch" else self.epochs * self.steps_per_epoch


def _power(gamma: float, times: int) -> float:
    """`gamma ** times`, infinite where Python raises an error: the loss then tells it, as under torch."""
    try:
        return gamma**times
    except OverflowError:
        return math.inf


@frozen
class Warmup:
    """From `start` times the learning rate to all of it, as LinearLR or by equal factors.

    `length`: steps, or `"N epochs"`.
    """

    length: Interval
    kind: Literal["linear", "exponential"] = "linear"
    start: Annotated[float, Field(gt=0, le=1)] = 0.01

    def factor(self, clock: Clock) -> float:
        """What the learning rate of the step is multiplied by; 1 after the warm-up."""
        epochs = epochs_of(self.length)
        steps = int(self.length) if epochs is None else epochs * clock.steps_per_epoch
        share = min((clock.step - 1) / steps, 1.0)
        return self.start + (1 - self.start) * share if self.kind == "linear" else self.start ** (1 - share)


@frozen
class Base:
    """What every schedule has; those that count steps or epochs derive from `Warmable`.

    Args:
        name: which schedule it is.

    """

    name: str

    def lr(self, lr: float, clock: Clock) -> float:
        """Learning rate of the step, from the optimizer's."""
        return lr

    @property
    def watched(self) -> Metric | None:
        """The figure that the schedule hangs on, where it hangs on one."""
        return None

    def watching(self, metric: Metric) -> Self:
        """The same schedule, watching `metric` where it watches one and does not say which."""
        return self

    def update(self, state: "Reductions", figures: dict[str, float]) -> None:
        """Take in the figures of an epoch; most schedules need none."""

    def momentum(self, clock: Clock) -> float | None:
        """Momentum of the step, where the schedule moves it."""
        return None

    @property
    def moves_momentum(self) -> bool:
        """True where `momentum` gives one."""
        return False

    @property
    def needs_epochs(self) -> bool:
        """True where the learning rate of a step hangs on how many epochs the run has."""
        return False


SCHEDULES = Parts[Base](
    "Schedule",
    "xtrain.schedules",
    "name",
    ("lr", "momentum", "moves_momentum", "needs_epochs", "watched", "watching", "update"),
    base="Schedule",
)
Schedule = Annotated[Base, SCHEDULES]


@frozen
class Warmable(Base):
    """What every schedule but the one-cycle has.

    Args:
        by: what is counted, finished epochs or finished steps.
        warmup: how the learning rate rises at the beginning, such as `{ length = 100 }`, in steps.

    """

    by: Literal["epoch", "step"] = "epoch"
    warmup: Warmup | None = None

    def lr(self, lr: float, clock: Clock) -> float:
        """Learning rate of the step, from the optimizer's."""
        warm = self.warmup.factor(clock) if self.warmup else 1.0
        return warm * self.scheduled(lr, clock)

    def scheduled(self, lr: float, clock: Clock) -> float:
        """Learning rate without warm-up."""
        return lr


@SCHEDULES.register
@frozen
class Constant(Warmable):
    """The optimizer's lr throughout."""

    name: Literal["constant"] = "constant"


@SCHEDULES.register
@frozen
class MultiStep(Warmable):
    """MultiStepLR: lr * gamma ** (milestones passed)."""

    name: Literal["multistep"] = "multistep"
    milestones: Counts
    gamma: Positive = 0.1

    def scheduled(self, lr: float, clock: Clock) -> float:
        """Learning rate without warm-up."""
        passed = clock.passed(self.by)
        return lr * _power(self.gamma, sum(milestone <= passed for milestone in self.milestones))


@SCHEDULES.register
@frozen
class Step(Warmable):
    """StepLR: lr * gamma ** (passed // step_size)."""

    name: Literal["step"] = "step"
    step_size: Count
    gamma: Positive = 0.1

    def scheduled(self, lr: float, clock: Clock) -> float:
        """Learning rate without warm-up."""
        return lr * _power(self.gamma, clock.passed(self.by) // self.step_size)


@SCHEDULES.register
@frozen
class Exponential(Warmable):
    """ExponentialLR: lr * gamma ** passed."""

    name: Literal["exponential"] = "exponential"
    gamma: Positive

    def scheduled(self, lr: float, clock: Clock) -> float:
        """Learning rate without warm-up."""
        return lr * _power(self.gamma, clock.passed(self.by))


@SCHEDULES.register
@frozen
class Cosine(Warmable):
    """CosineAnnealingLR: min_lr + (lr - min_lr) * (1 + cos(pi * passed / period)) / 2.

    Args:
        period: T_max; by default the whole run.
        min_lr: the learning rate at the end of a period.

    """

    name: Literal["cosine"] = "cosine"
    period: Count | None = None
    min_lr: NonNegative = 0.0

    @property
    def needs_epochs(self) -> bool:
        """True without a period of its own."""
        return self.period is None

    def scheduled(self, lr: float, clock: Clock) -> float:
        """Learning rate without warm-up."""
        share = clock.passed(self.by) / (self.period or clock.total(self.by))
        return self.min_lr + (lr - self.min_lr) * (1 + math.cos(math.pi * share)) / 2


@SCHEDULES.register
@frozen
class OneCycle(Base):
    """OneCycleLR by step: up from lr / div_factor to lr, then down to lr / div_factor / final_div_factor.

    The momentum (Adam's beta1) goes the other way, where `cycle_momentum` says so.
    """

    name: Literal["one_cycle"] = "one_cycle"
    pct_start: Annotated[float, Field(gt=0, lt=1)] = 0.3
    anneal: Literal["cos", "linear"] = "cos"
    div_factor: Positive = 25.0
    final_div_factor: Positive = 1e4
    cycle_momentum: bool = True
    base_momentum: Fraction = 0.85
    max_momentum: Fraction = 0.95

    def lr(self, lr: float, clock: Clock) -> float:
        """Learning rate of the step, from the optimizer's, which is the largest."""
        first = lr / self.div_factor
        return self._at(clock, first, lr, first / self.final_div_factor)

    @property
    def moves_momentum(self) -> bool:
        """As `cycle_momentum` says."""
        return self.cycle_momentum

    @property
    def needs_epochs(self) -> bool:
        """True: the cycle is as long as the run."""
        return True

    def momentum(self, clock: Clock) -> float | None:
        """Momentum of the step."""
        if not self.cycle_momentum:
            return None
        return self._at(clock, self.max_momentum, self.base_momentum, self.max_momentum)

    def _at(self, clock: Clock, first: float, middle: float, last: float) -> float:
        done, total = clock.step - 1, clock.total("step")
        turn = self.pct_start * total - 1  # torch counts it like that, the end as total - 1
        if done <= turn:
            return self._between(first, middle, done / turn if turn else 1.0)
        return self._between(middle, last, (done - turn) / (total - 1 - turn))

    def _between(self, start: float, end: float, share: float) -> float:
        if self.anneal == "linear":
            return start + (end - start) * share
        return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


@dataclass
class Reductions(Watch):
    """What ReduceLROnPlateau carries: how often it has reduced, epochs left to rest."""

    made: int = 0
    resting: int = 0


@SCHEDULES.register
@frozen
class Plateau(Warmable):
    """ReduceLROnPlateau: lr * factor once `monitor` has not got better for more than `patience` epochs.

    A gain is one larger than `threshold`, which is relative to the best (`rel`) or not (`abs`).
    """

    name: Literal["plateau"] = "plateau"
    by: Literal["epoch"] = "epoch"
    monitor: Metric | None = None
    mode: Mode | None = None
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: NonNegativeInt = 10
    threshold: NonNegative = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: NonNegativeInt = 0
    min_lr: NonNegative = 0.0

    def scheduled(self, lr: float, clock: Clock) -> float:
        """Learning rate without warm-up."""
        return max(lr * self.factor**clock.reductions, min(self.min_lr, lr))

    @property
    def watched(self) -> Metric | None:
        """`monitor`."""
        return self.monitor

    def watching(self, metric: Metric) -> Self:
        """With `metric` as `monitor`, where there is none."""
        return self if self.monitor else replace(self, monitor=metric)

    def update(self, state: Reductions, figures: dict[str, float]) -> None:
        """Count the epochs without a gain; reduce where they are too many."""
        assert self.monitor is not None  # a recipe's defaults are explicit
        relative = self.threshold_mode == "rel" and state.best is not None
        least = self.threshold * abs(state.best) if relative and state.best is not None else self.threshold
        state.update(figures[self.monitor], self.mode or mode_of(self.monitor), least)
        if state.resting:
            state.resting, state.waited = state.resting - 1, 0
        if state.waited > self.patience:
            state.made, state.resting, state.waited = state.made + 1, self.cooldown, 0
