"""Progress: a live bar on a terminal or in a notebook, plain lines elsewhere; the epochs as a table."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from xtrain.training.observers import EpochRecord, Observer, Start, TrainRecord
from xtrain.training.observers.notebook import Notebook
from xtrain.training.observers.rate import Rate
from xtrain.training.observers.table import Table


def progress(console: Console) -> Observer:
    """The observer that suits the console."""
    if console.is_jupyter:
        return Notebook()
    return Bar(console) if console.is_terminal else Lines(console)


class Screen(Observer):
    """Shows how far a training is; where it is sent to another process, on that one's screen."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _on_screen, ()


def _on_screen() -> Observer:
    return progress(Console())


class Lines(Screen):
    """A table with a row for each train record between epochs, and one for each epoch."""

    def __init__(self, console: Console) -> None:
        self._console = console
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
        self._console.print(text, highlight=False, soft_wrap=True)


class Bar(Screen):
    """A bar for the run under way, below a table with a row for each epoch that is done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rate = Rate()
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=None),
            TextColumn("step {task.fields[step]}  loss {task.fields[loss]}  {task.fields[rate]} images/s"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            expand=True,
            transient=True,
        )

    def start(self, start: Start) -> None:
        """Begin the table, and show the bar where the run stands."""
        self._epochs, self._per_epoch = start.job.recipe.loop.epochs, start.job.steps_per_epoch
        self._rate = Rate()
        self._table = Table(start)
        self._console.print(self._table.header(), highlight=False)
        self._task = self._bar.add_task(
            "train",
            total=self._epochs * self._per_epoch,
            completed=start.step,
            epoch=min(start.step // self._per_epoch + 1, self._epochs),
            epochs=self._epochs,
            step=start.step,
            loss="-",
            rate="-",
        )
        self._bar.start()

    def step(self, step: int, samples: int) -> None:
        """Move the bar."""
        self._rate.add(samples)
        epoch = (step - 1) // self._per_epoch + 1
        self._bar.update(self._task, completed=step, step=step, epoch=epoch, rate=str(self._rate))

    def train(self, record: TrainRecord) -> None:
        """Show the loss."""
        self._bar.update(self._task, loss=f"{record.loss:.4f}")

    def epoch(self, record: EpochRecord) -> None:
        """Leave a row."""
        self._console.print(self._table.epoch(record), highlight=False)

    def stop(self) -> None:
        """Take the bar away."""
        self._bar.stop()
