"""What a run has recorded, to be looked at: as records, as a data frame, in a notebook."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

from xtrain.errors import UsageError, suggest
from xtrain.recipe import Recipe
from xtrain.recipe.watch import Metric, Watch, mode_of
from xtrain.runs.metrics import Record, read_records
from xtrain.system.distribution import package_command

SPLITS = {"train": "train", "val": "validation", "test": "test"}
"""How the splits are called in records, and in words."""
_KINDS = ("train", "epoch")


class Records(ABC):
    """The records of a run, read anew each time.

    Args:
        path: the run's directory.

    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    @abstractmethod
    def recipe(self) -> Recipe:
        """The resolved recipe."""

    @abstractmethod
    def setting(self, key: str) -> Any:
        """A value of the resolved recipe by its dotted key, also without the packages of its parts."""

    @property
    def metrics_path(self) -> Path:
        """JSON lines, as they were recorded."""
        return self.path / "metrics.jsonl"

    @property
    def history(self) -> list[Record]:
        """Every record of `metrics.jsonl`; `XtrainError` names a damaged line."""
        return read_records(self.metrics_path)

    @property
    def train(self) -> list[Record]:
        """Records of kind train: epoch, step, loss, lr."""
        return [record for record in self.history if record["kind"] == "train"]

    @property
    def epochs(self) -> list[Record]:
        """Records of kind epoch: losses, accuracies and seconds."""
        return [record for record in self.history if record["kind"] == "epoch"]

    @property
    def best(self) -> Record | None:
        """The record of the best epoch by what `loop.monitor` watches; None before the first epoch ends."""
        return best_of(self.epochs, self._monitor)

    def frame(self, kind: str = "epoch") -> Any:
        """The records of kind `epoch` or `train` as a pandas data frame, where pandas is installed."""
        if kind not in _KINDS:
            raise UsageError(f"there are no records of kind {kind!r}", remedy=suggest(kind, _KINDS))
        try:
            pandas = import_module("pandas")
        except ImportError:
            raise UsageError(
                "a data frame needs pandas, which is not installed",
                remedy=f"{package_command('pandas')}; without it, run.epochs and run.train are lists",
            ) from None
        frame = pandas.DataFrame(record for record in self.history if record["kind"] == kind)
        return frame.drop(columns="kind", errors="ignore")

    @property
    def _monitor(self) -> Metric:
        monitor: Metric = self.setting("loop.monitor")
        return monitor

    def _repr_html_(self) -> str:
        """What a notebook shows of the run: its name, where it lies, its epochs, the best one in bold."""
        head = f"<b>{escape(self.setting('name'))}</b> in <code>{escape(str(self.path))}</code>"
        return f"<p>{head}</p>{html_table(self.epochs, self._monitor)}"


def best_of(epochs: Iterable[Record], monitor: Metric) -> Record | None:
    """The best of records of kind epoch by a figure; of equal ones the first."""
    watch, best = Watch(), None
    for record in epochs:
        if monitor in record and watch.update(record[monitor], mode_of(monitor)):
            best = record
    return best


def html_table(epochs: Iterable[Record], monitor: Metric) -> str:
    """Records of kind epoch as an HTML table; the best one is bold."""
    known = list(epochs)
    best = best_of(known, monitor)
    splits = [split for split in SPLITS if any(f"{split}_loss" in record for record in known)]
    heads = "".join(f"<th>{SPLITS[split]} loss</th><th>accuracy</th>" for split in splits)
    rows = "".join(_row(record, splits, record is best) for record in known)
    caption = f"<p>best by {monitor}: epoch {best['epoch']}</p>" if best else ""
    return f"<table><tr><th>epoch</th><th>step</th>{heads}</tr>{rows}</table>{caption}"


def _row(record: Record, splits: Iterable[str], best: bool) -> str:
    figures = (record.get(f"{split}_{kind}") for split in splits for kind in ("loss", "accuracy"))
    cells = [str(record["epoch"]), str(record["step"]), *("" if f is None else f"{f:.4f}" for f in figures)]
    tag = "th" if best else "td"
    return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"
