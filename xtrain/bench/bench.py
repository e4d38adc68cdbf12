"""Contestants in turn, each trial in a process of its own, and what their figures come to."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from xtrain import homes
from xtrain.bench import native
from xtrain.bench.trial import Limit, Trial, measure
from xtrain.recipe import Job
from xtrain.training.assembly import Options

Say = Callable[[str], None]


@dataclass(frozen=True)
class Spread:
    """A median between the lowest and the highest."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of some figures."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Result:
    """Every trial of every contestant, in the order of the repeats."""

    own: dict[str, list[Trial]]
    """Of xtrain, by backend."""
    by_hand: dict[str, list[Trial]]
    """Of the loops that it is compared with, by name."""

    def step(self, trials: Sequence[Trial]) -> Spread:
        """Seconds of a step."""
        return Spread.of([trial.step for trial in trials])

    def ratio(self, backend: str, loop: str) -> Spread:
        """Time of xtrain's step over that of a loop, by pairs of the same repeat."""
        pairs = zip(self.own[backend], self.by_hand[loop], strict=True)
        return Spread.of([ours.step / theirs.step for ours, theirs in pairs])

    def to_dict(self) -> dict[str, Any]:
        """Plain values: every trial, and every ratio."""
        kinds = {"xtrain": self.own, "by_hand": self.by_hand}
        trials = {kind: _plain(by_name) for kind, by_name in kinds.items()}
        ratios = {
            f"{ours} / {theirs}": asdict(self.ratio(ours, theirs))
            for ours in self.own
            for theirs in self.by_hand
        }
        return {"trials": trials, "ratios": ratios}


def _plain(by_name: dict[str, list[Trial]]) -> dict[str, list[dict[str, Any]]]:
    return {name: [asdict(trial) for trial in trials] for name, trials in by_name.items()}


def run(
    job: Job,
    choices: Sequence[Options],
    loops: Sequence[native.Loop],
    limit: Limit,
    repeats: int,
    say: Say,
) -> Result:
    """Measure; within a repeat every contestant has its turn, so that none has the quiet hour to itself."""
    own: dict[str, list[Trial]] = {options.backend: [] for options in choices}
    by_hand: dict[str, list[Trial]] = {str(loop): [] for loop in loops}
    data_dir: Path | None = choices[0].data_dir
    for repeat in range(1, repeats + 1):
        for options in choices:
            trial = homes.call(options.backend, measure, job, options, limit, time.time())
            own[options.backend].append(trial)
            say(f"{repeat}/{repeats}  xtrain {options.backend}: {_short(trial)}")
        for loop in loops:
            trial = native.measure(loop, job.recipe, data_dir, limit)
            by_hand[str(loop)].append(trial)
            say(f"{repeat}/{repeats}  {loop}: {_short(trial)}")
    return Result(own, by_hand)


def _short(trial: Trial) -> str:
    return f"{1e3 * trial.step:.2f} ms a step"
