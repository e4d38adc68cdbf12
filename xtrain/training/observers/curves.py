"""The picture of a run, drawn when a session ends."""

from xtrain.errors import MissingError
from xtrain.runs.picture import draw
from xtrain.runs.run import Run, note
from xtrain.training.observers import Observer


class Curves(Observer):
    """Draws from the run's own records, so a resumed run shows all its sessions."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def stop(self) -> None:
        """Draw `curves.png`, if there is anything to show and the run is still in its place."""
        if self._run.in_place and self._run.history:
            try:
                draw([self._run], self._run.path / "curves.png")
            except MissingError as error:  # a run is worth more than its picture
                note(f"no curves.png: {error}")
