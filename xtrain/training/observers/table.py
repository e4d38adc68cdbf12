"""The figures of a run as a table of text, no wider than 80 columns."""

from xtrain.recipe.watch import Watch, mode_of
from xtrain.training.observers import EpochRecord, Start, TrainRecord

MARK = "*"
"""Stands at an epoch that is better than all before it by what `loop.monitor` watches."""


class Table:
    """The rows of a session, one after another.

    Args:
        start: what is about to happen; its `best` is what a resumed run has reached before.

    """

    def __init__(self, start: Start) -> None:
        self._splits = {"train": "train", "val": "validation", "test": "test"}
        if start.job.recipe.data.validation is None:
            del self._splits["val"]
        self._monitor, self._watch = start.job.monitor, Watch(start.best)

    def header(self) -> str:
        """Two lines: the splits, and what is below them."""
        above = "".join(f"{name:>18}" for name in self._splits.values())
        return f"{'':13}{above}\n{'epoch':>5}{'step':>8}{'     loss accuracy' * len(self._splits)} seconds"

    def step(self, record: TrainRecord, rest: str) -> str:
        """A row with the training loss since the last record, and after it `rest`."""
        return f"{record.epoch:>5}{record.step:>8}{_loss(record.loss)}  {rest}"

    def epoch(self, record: EpochRecord) -> str:
        """A row with the figures of an epoch; marked where it is the best so far."""
        figures = record.figures
        cells = "".join(
            f"{_loss(figures[f'{split}_loss'])}{figures[f'{split}_accuracy']:>9.4f}" for split in self._splits
        )
        seconds = record.train_seconds + record.test_seconds + (record.val_seconds or 0.0)
        best = self._watch.update(figures[self._monitor], mode_of(self._monitor))
        return f"{record.epoch:>5}{record.step:>8}{cells}{seconds:>8.1f}{f' {MARK}' if best else ''}"


def _loss(value: float) -> str:
    return f"{short(value):>9}"


def short(value: float) -> str:
    """A loss in 8 letters at most: `0.1234`, `1.23e+05`, `1.2e-300`."""
    if abs(value) < 100:
        return f"{value:.4f}"
    return f"{value:.3g}" if abs(value) < 1e100 else f"{value:.2g}"
