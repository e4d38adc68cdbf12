"""What a program gives as an observer: a subclass of `Observer`, or any object with some of its methods."""

from collections.abc import Iterable
from typing import Any

from xtrain.errors import UsageError
from xtrain.training.observers import EpochRecord, Observer, Start, TrainRecord

EVENTS = ("start", "step", "train", "epoch", "stop")


class Adapted(Observer):
    """Hands on to another object the events that it has methods for."""

    def __init__(self, watcher: Any) -> None:
        self._watcher = watcher

    def start(self, start: Start) -> None:
        """A session begins."""
        self._tell("start", start)

    def step(self, step: int, samples: int) -> None:
        """A step was handed to the device."""
        self._tell("step", step, samples)

    def train(self, record: TrainRecord) -> None:
        """Training figures are known."""
        self._tell("train", record)

    def epoch(self, record: EpochRecord) -> None:
        """An epoch was trained and evaluated."""
        self._tell("epoch", record)

    def stop(self) -> None:
        """The session ends."""
        self._tell("stop")

    def _tell(self, event: str, *about: Any) -> None:
        if method := getattr(self._watcher, event, None):
            method(*about)


def watches(given: object) -> bool:
    """True for what has some of an observer's methods."""
    return not isinstance(given, type) and any(callable(getattr(given, event, None)) for event in EVENTS)


def adapted(given: Iterable[Any]) -> list[Observer]:
    """Observers, whatever they were given as. `UsageError` names what can't be one."""
    return [each if isinstance(each, Observer) else _adapted(each) for each in given]


def _adapted(watcher: Any) -> Observer:
    if isinstance(watcher, type):
        raise UsageError(
            f"observers: {watcher.__name__} is a class",
            remedy=f"give an instance of it: {watcher.__name__}()",
        )
    if not watches(watcher):
        raise UsageError(
            f"observers: {watcher!r:.80} has none of an observer's methods",
            remedy=f"give an object with some of {', '.join(EVENTS)}; see xtrain.Observer",
        )
    return Adapted(watcher)
