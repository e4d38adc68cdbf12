"""Progress in a notebook: one output that changes, with a bar and the epochs so far."""

import sys
import time
from dataclasses import asdict
from importlib import import_module
from typing import Any

from xtrain.runs.records import html_table
from xtrain.runs.run import Run
from xtrain.training.observers import EpochRecord, Observer, Start, TrainRecord
from xtrain.training.observers.standing import Standing

_PAUSE = 0.2
"""Seconds between two changes of the output: a browser takes no more."""


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook; a terminal's IPython has no kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class Notebook(Observer):
    """A bar while the run goes on, below it the table of the epochs, which stays."""

    def __init__(self) -> None:
        self._output: Any = None

    def start(self, start: Start) -> None:
        """Make the output."""
        self._standing, self._monitor = Standing(start), start.job.monitor
        self._epochs = Run(start.path).epochs if start.step else []
        display = import_module("IPython.display").display
        self._output = display(self._bundle(bar=True), raw=True, display_id=True)
        self._shown = time.perf_counter()

    def step(self, step: int, samples: int) -> None:
        """Move the bar."""
        self._standing.step(step, samples)
        if time.perf_counter() - self._shown > _PAUSE:
            self._show()

    def train(self, record: TrainRecord) -> None:
        """Show the loss when the bar moves."""
        self._standing.train(record)

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
        table, text = html_table(self._epochs, self._monitor), str(self._standing)
        if not bar:
            return {"text/html": table, "text/plain": text}
        progress = f'<progress value="{self._standing.at}" max="{self._standing.steps}"></progress>'
        return {"text/html": f"<div>{progress} {text}</div>{table}", "text/plain": text}
