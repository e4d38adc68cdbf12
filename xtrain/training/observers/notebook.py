"""Progress in a notebook: one output that changes, with a bar and the epochs so far."""

import time
from dataclasses import asdict
from importlib import import_module
from typing import Any

from xtrain.runs.records import html_table
from xtrain.runs.run import Run
from xtrain.training.observers import EpochRecord, Observer, Start, TrainRecord
from xtrain.training.observers.rate import Rate

_PAUSE = 0.2
"""Seconds between two changes of the output: a browser takes no more."""


class Notebook(Observer):
    """A bar while the run goes on, below it the table of the epochs, which stays."""

    def __init__(self) -> None:
        self._output: Any = None
        self._rate = Rate()

    def start(self, start: Start) -> None:
        """Make the output."""
        self._job, self._step, self._loss = start.job, start.step, "-"
        self._rate = Rate()
        self._epochs = Run(start.path).epochs if start.step else []
        display = import_module("IPython.display").display
        self._output = display(self._bundle(bar=True), raw=True, display_id=True)
        self._shown = time.perf_counter()

    def step(self, step: int, samples: int) -> None:
        """Move the bar."""
        self._rate.add(samples)
        self._step = step
        if time.perf_counter() - self._shown > _PAUSE:
            self._show()

    def train(self, record: TrainRecord) -> None:
        """Remember the loss, which the bar shows when it moves."""
        self._loss = f"{record.loss:.4f}"

    def epoch(self, record: EpochRecord) -> None:
        """Add a row."""
        self._epochs.append({key: value for key, value in asdict(record).items() if value is not None})
        self._show()

    def stop(self) -> None:
        """Take the bar away, if there is one."""
        if self._output is not None:
            self._show(bar=False)

    def _show(self, bar: bool = True) -> None:
        self._output.update(self._bundle(bar), raw=True)
        self._shown = time.perf_counter()

    def _bundle(self, bar: bool) -> dict[str, str]:
        """What is shown, as HTML and, for what shows none, as text."""
        table, steps, epochs = (
            html_table(self._epochs, self._job.monitor),
            self._job.steps,
            self._job.recipe.loop.epochs,
        )
        epoch = min(max(self._step - 1, 0) // self._job.steps_per_epoch + 1, epochs)
        text = f"epoch {epoch}/{epochs}, step {self._step}, loss {self._loss}"
        if not bar:
            return {"text/html": table, "text/plain": text}
        moving = f"{text}, {self._rate} images/s, {self._rate.left(steps - self._step)} left"
        progress = f'<progress value="{self._step}" max="{steps}"></progress>'
        return {"text/html": f"<div>{progress} {moving}</div>{table}", "text/plain": moving}
