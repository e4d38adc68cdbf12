"""Observers watch the trainer and never steer it."""

from dataclasses import asdict, dataclass
from pathlib import Path

from xtrain.recipe import Job


@dataclass(frozen=True)
class Start:
    """What is about to happen.

    Args:
        job: the recipe over its data.
        path: the run's directory.
        backend, device: where it is computed.
        step: updates that are behind the run already.
        best: what the watched figure has reached so far; None in a new run.

    """

    job: Job
    path: Path
    backend: str
    device: str
    step: int
    best: float | None = None


@dataclass(frozen=True)
class TrainRecord:
    """`loss`: mean over the samples since the last such record; `lr`: of this step."""

    epoch: int
    step: int
    loss: float
    lr: float


@dataclass(frozen=True)
class EpochRecord:
    """One epoch: means over its samples, accuracies as fractions of 1, wall-clock seconds.

    What starts with `val` is None where there is no validation split.
    """

    epoch: int
    step: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    train_seconds: float
    test_seconds: float
    val_loss: float | None = None
    val_accuracy: float | None = None
    val_seconds: float | None = None

    @property
    def figures(self) -> dict[str, float]:
        """What can be watched, by name."""
        values = asdict(self).items()
        return {
            name: value
            for name, value in values
            if value is not None and name.endswith(("_loss", "_accuracy"))
        }


class Observer:
    """Base of all observers: override what you want to see."""

    def start(self, start: Start) -> None:
        """A session begins."""

    def step(self, step: int, samples: int) -> None:
        """A step was handed to the device; its figures may not be known yet."""

    def train(self, record: TrainRecord) -> None:
        """Training figures are known."""

    def epoch(self, record: EpochRecord) -> None:
        """An epoch was trained and evaluated."""

    def stop(self) -> None:
        """The session ends, whatever the reason."""
