"""metrics.jsonl as an observer: each record is a line as soon as it is known."""

from dataclasses import asdict

from xtrain.runs.metrics import Appender, Written
from xtrain.runs.run import Run
from xtrain.training.observers import EpochRecord, Observer, TrainRecord


class MetricsFile(Observer):
    """Appends to metrics.jsonl; `XtrainError` where the run's directory is no longer in its place."""

    def __init__(self, run: Run) -> None:
        self._run, self._file = run, Appender(run.metrics_path)

    def train(self, record: TrainRecord) -> None:
        """Append a line of kind train."""
        self._append("train", record)

    def epoch(self, record: EpochRecord) -> None:
        """Append a line of kind epoch."""
        self._append("epoch", record)

    def synced(self) -> Written:
        """Wait until the lines are on the disk; what a checkpoint says of them."""
        return self._file.synced()

    def stop(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, kind: str, record: TrainRecord | EpochRecord) -> None:
        self._run.check_place()
        known = {name: value for name, value in asdict(record).items() if value is not None}
        self._file.append({"kind": kind, **known})
