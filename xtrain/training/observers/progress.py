"""Progress: a live bar on a terminal, plain lines elsewhere."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from xtrain.training.observers import EpochRecord, Observer, Start, TrainRecord


def progress(console: Console) -> Observer:
    """The observer that suits the console."""
    return Bar(console) if console.is_terminal else Lines(console)


class Screen(Observer):
    """Shows how far a training is; where it is sent to another process, on that one's screen."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _on_screen, ()


def _on_screen() -> Observer:
    return progress(Console())


class Lines(Screen):
    """One line for each train record and epoch."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rate = Rate()

    def start(self, start: Start) -> None:
        """Remember how far there is to go."""
        self._start = start
        self._last = start.job.steps
        self._rate = Rate()

    def step(self, step: int, samples: int) -> None:
        """Count the images."""
        self._rate.add(samples)

    def train(self, record: TrainRecord) -> None:
        """Epoch, step, loss, images/s and time left."""
        left = self._rate.left(self._last - record.step)
        self._say(
            f"epoch {record.epoch}/{self._start.job.recipe.loop.epochs}  step {record.step}  "
            f"loss {record.loss:.4f}  {self._rate} images/s  {left} left"
        )

    def epoch(self, record: EpochRecord) -> None:
        """The figures of the epoch."""
        self._say(epoch_line(record, self._start.job.recipe.loop.epochs))

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


class Bar(Screen):
    """A bar for the epoch under way; a line stays for each epoch that is done."""

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
        """Show the bar where the run stands."""
        self._epochs, self._per_epoch = start.job.recipe.loop.epochs, start.job.steps_per_epoch
        self._rate = Rate()
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
        """Leave a line."""
        self._console.print(epoch_line(record, self._epochs), highlight=False)

    def stop(self) -> None:
        """Take the bar away."""
        self._bar.stop()


class Rate:
    """Images per second of a session, from the end of its first step on.

    The first step compiles and fills caches: its images and its seconds do not count. Evaluation and
    checkpoints, which a run waits for as well, do.
    """

    def __init__(self) -> None:
        self._started: float | None = None
        self._steps = self._images = 0

    def add(self, images: int) -> None:
        """Count a step of so many images; the first one starts the clock."""
        if self._started is None:
            self._started = time.perf_counter()
            return
        self._steps += 1
        self._images += images

    def left(self, steps: int) -> str:
        """How long so many steps take, as `clock` has it; `-` before two steps are done."""
        return clock(self._seconds / self._steps * steps) if self._steps else "-"

    def __str__(self) -> str:
        """`1,234`, or `-` before two steps are done."""
        return f"{self._images / self._seconds:,.0f}" if self._steps else "-"

    @property
    def _seconds(self) -> float:
        """Since the first step ended; never 0, however coarse the clock."""
        assert self._started is not None
        return max(time.perf_counter() - self._started, 1e-9)


def epoch_line(record: EpochRecord, epochs: int) -> str:
    """`epoch 1/3  train 0.9012 0.7821  test ...`: loss and accuracy of each split, seconds."""
    validation = (
        ""
        if record.val_loss is None
        else f"val loss {record.val_loss:.4f} accuracy {record.val_accuracy:.4f}  "
    )
    return (
        f"epoch {record.epoch}/{epochs} done  "
        f"train loss {record.train_loss:.4f} accuracy {record.train_accuracy:.4f}  {validation}"
        f"test loss {record.test_loss:.4f} accuracy {record.test_accuracy:.4f}  "
        f"{record.train_seconds:.1f} s + {record.test_seconds:.1f} s"
    )


def clock(seconds: float) -> str:
    """`1:02:03` or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
