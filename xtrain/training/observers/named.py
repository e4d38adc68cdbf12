"""The observers that a recipe names: what one of them raises ends its watching, never the training."""

from typing import Any

from xtrain.errors import PluginError
from xtrain.recipe.observers import Observing
from xtrain.runs.run import note
from xtrain.training.observers.anything import Adapted


class Named(Adapted):
    """Tells an observer of another package what happens, until it fails.

    `PluginError` where it can't be made.
    """

    def __init__(self, part: Observing) -> None:
        self._name, self._failed = part.name, False
        try:
            super().__init__(part.observer())
        except Exception as error:  # whatever a package's own code may raise
            problem = f"observer {part.name!r} can't be made: {type(error).__name__}: {error}"
            raise PluginError(problem) from error

    def _tell(self, event: str, *about: Any) -> None:
        if self._failed:
            return
        try:
            super()._tell(event, *about)
        except Exception as error:  # noqa: BLE001 - whatever a package's own code may raise
            self._failed = True
            note(f"observer {self._name!r} failed and is told no more: {type(error).__name__}: {error}")
