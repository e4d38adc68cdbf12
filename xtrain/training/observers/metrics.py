"""metrics.jsonl: one JSON object a line."""

import json
from dataclasses import asdict
from pathlib import Path

from xtrain.training.observers import EpochRecord, Observer, TrainRecord


class MetricsFile(Observer):
    """Appends each record as it comes; every line is handed to the system at once."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def train(self, record: TrainRecord) -> None:
        """A line of kind train."""
        self._write("train", record)

    def epoch(self, record: EpochRecord) -> None:
        """A line of kind epoch."""
        self._write("epoch", record)

    def stop(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, kind: str, record: TrainRecord | EpochRecord) -> None:
        known = {name: value for name, value in asdict(record).items() if value is not None}
        self._file.write(json.dumps({"kind": kind, **known}) + "\n")
        self._file.flush()
