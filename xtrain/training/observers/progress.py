"""Progress: a live bar on a terminal or in a notebook, plain lines elsewhere; the epochs as a table."""

import sys
from typing import Any, TextIO

from tqdm import tqdm

from xtrain.training.observers import EpochRecord, Observer, Start, TrainRecord
from xtrain.training.observers.notebook import Notebook, in_notebook
from xtrain.training.observers.rate import Rate
from xtrain.training.observers.standing import Standing
from xtrain.training.observers.table import Table


def progress() -> Observer:
    """The observer that suits what this process prints to."""
    if in_notebook():
        return Notebook()
    return Bar(sys.stdout) if sys.stdout.isatty() else Lines(sys.stdout)


class Screen(Observer):
    """Shows how far a training is; where it is sent to another process, on that one's screen."""

    def __reduce__(self) -> tuple[Any, ...]:
        return progress, ()


class Lines(Screen):
    """A table with a row for each train record between epochs, and one for each epoch."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rate = Rate()

    def start(self, start: Start) -> None:
        """Begin the table; remember how far there is to go."""
        self._job = start.job
        self._rate = Rate()
        self._table = Table(start)
        self._say(self._table.header())

    def step(self, step: int, samples: int) -> None:
        """Count the images."""
        self._rate.add(samples)

    def train(self, record: TrainRecord) -> None:
        """Epoch, step, loss, images/s and time left; the row of an epoch that ends there says more."""
        if record.step % self._job.steps_per_epoch == 0 and record.step % self._job.recipe.loop.log_every:
            return
        left = self._rate.left(self._job.steps - record.step)
        self._say(self._table.step(record, f"{self._rate} images/s, {left} left"))

    def epoch(self, record: EpochRecord) -> None:
        """The figures of the epoch."""
        self._say(self._table.epoch(record))

    def _say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class Bar(Screen):
    """A bar for the run under way, below a table with a row for each epoch that is done."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bar: tqdm[Any] | None = None

    def start(self, start: Start) -> None:
        """Begin the table, and show the bar where the run stands."""
        self._standing, self._table = Standing(start), Table(start)
        print(self._table.header(), file=self._stream)
        self._bar = tqdm(
            total=self._standing.steps,
            initial=start.step,
            bar_format="{desc} {bar}",
            desc=str(self._standing),
            leave=False,
            dynamic_ncols=True,
            file=self._stream,
        )

    def step(self, step: int, samples: int) -> None:
        """Move the bar, which is drawn ten times a second at most."""
        assert self._bar is not None
        self._standing.step(step, samples)
        self._bar.set_description_str(str(self._standing), refresh=False)
        self._bar.update()

    def train(self, record: TrainRecord) -> None:
        """Show the loss when the bar moves."""
        self._standing.train(record)

    def epoch(self, record: EpochRecord) -> None:
        """Leave a row."""
        tqdm.write(self._table.epoch(record), file=self._stream)

    def stop(self) -> None:
        """Take the bar away, if there is one."""
        if self._bar is not None:
            self._bar.close()
