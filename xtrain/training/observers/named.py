"""The observers that a recipe names: what one of them raises ends its watching, never the training."""

from typing import Any

from xtrain.errors import PluginError
from xtrain.recipe.observers import Observing
from xtrain.runs.run import note
from xtrain.training.observers import EpochRecord, Observer, Start, TrainRecord


class Named(Observer):
    """Tells an observer of another package what happens, until it fails.

    `PluginError` where it can't be made.
    """

    def __init__(self, part: Observing) -> None:
        self._name, self._failed = part.name, False
        try:
            self._observer = part.observer()
        except Exception as error:  # whatever a package's own code may raise
            problem = f"observer {part.name!r} can't be made: {type(error).__name__}: {error}"
            raise PluginError(problem) from error

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

    def _tell(self, what: str, *given: Any) -> None:
        if self._failed:
            return
        try:
            getattr(self._observer, what)(*given)
        except Exception as error:  # noqa: BLE001 - whatever a package's own code may raise
            self._failed = True
            note(f"observer {self._name!r} failed and is told no more: {type(error).__name__}: {error}")
