"""The observers that a recipe names: what one of them raises ends its watching, never the training."""

from typing import Any

from xtrain.errors import PluginError
from xtrain.recipe.observers import Observing
from xtrain.runs.run import note
from xtrain.spec.parts import package_of
from xtrain.training.observers.anything import Adapted, watches

_FAILURE = (Exception, SystemExit)  # whatever a package's own code may raise


class Named(Adapted):
    """Tells an observer of another package what happens, until it fails.

    `PluginError` where it can't be made.
    """

    def __init__(self, part: Observing) -> None:
        self._part, self._failed = part, False
        try:
            watcher = part.observer()
            if not watches(watcher):
                raise TypeError(f"observer() gives {watcher!r:.80}, which has none of an observer's methods")
        except _FAILURE as error:
            raise PluginError(self._told("can't be made", error), where=package_of(part) or None) from error
        super().__init__(watcher)

    def _tell(self, event: str, *about: Any) -> None:
        if self._failed:
            return
        try:
            super()._tell(event, *about)
        except _FAILURE as error:
            self._failed = True
            told = self._told("failed and is told no more", error)
            note(f"{package}: {told}" if (package := package_of(self._part)) else told)

    def _told(self, what: str, error: BaseException) -> str:
        return f"observer {self._part.name!r} {what}: {type(error).__name__}: {error}"
