"""metrics.jsonl on disk: one JSON object a line, appended, synced at each checkpoint, trimmed on resume."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xtrain.errors import XtrainError
from xtrain.system.files import content, open_to_append, parse_json

Record = dict[str, Any]
_KEYS = {"train": ("epoch", "step", "loss"), "epoch": ("epoch", "step", "test_loss", "test_accuracy")}
"""What every record of a kind has."""
_TOO_LARGE = 2**63
_REMEDY = "put the file back as it was, or move it away to go on without the records before"


@dataclass(frozen=True)
class Written:
    """What a checkpoint says of metrics.jsonl: its length and SHA-256 up to there."""

    bytes: int
    sha256: str


class Appender:
    """Appends records; every line is handed to the system at once."""

    def __init__(self, path: Path) -> None:
        before = content(path) if path.is_file() and not path.is_symlink() else b""
        self._bytes, self._hash = len(before), hashlib.sha256(before)
        self._handle = open_to_append(path)

    def append(self, record: Record) -> None:
        """Write one line."""
        line = (json.dumps(record) + "\n").encode()
        left = memoryview(line)
        while left:
            left = left[os.write(self._handle, left) :]
        self._bytes += len(line)
        self._hash.update(line)

    def synced(self) -> Written:
        """Wait until all lines are on the disk; what they are up to here."""
        os.fsync(self._handle)
        return Written(self._bytes, self._hash.hexdigest())

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._handle)


def read_records(path: Path) -> list[Record]:
    """Every record of the file, none where it is missing; a last line that a kill cut short is left out.

    `XtrainError` names the first line that is damaged.
    """
    return _parsed(_lines(path), path)


def trimmed(path: Path, written: Written | None, step: int, epoch: int) -> bytes:
    """The content up to where a run stands: what it will write again is cut.

    Args:
        path: of the file; a missing one has no records.
        written: what the checkpoint says; without it records are looked at one by one.
        step, epoch: where the run stands.

    Raises:
        XtrainError: what should stay is not what was written.

    """
    if written is None or not path.is_file():
        lines = _lines(path)
        records = zip(lines, _parsed(lines, path), strict=True)
        return b"".join(line + b"\n" for line, record in records if _happened(record, step, epoch))
    kept = _content(path)[: written.bytes]
    if hashlib.sha256(kept).hexdigest() != written.sha256:
        cut = written.bytes - len(kept)
        _parsed(_lines(path), path)  # names a line that is damaged
        problem = f"{cut} bytes are missing" if cut else "its records are not those that were written"
        raise XtrainError(f"{problem} up to step {step} (its hash differs)", where=path, remedy=_REMEDY)
    return kept


def is_as_written(path: Path, written: Written) -> bool:
    """True where the file begins with what a checkpoint says."""
    return path.is_file() and hashlib.sha256(_content(path)[: written.bytes]).hexdigest() == written.sha256


def _content(path: Path) -> bytes:
    try:
        return content(path)
    except OSError as error:
        raise XtrainError(f"can't be read: {error.strerror}", where=path, remedy=_REMEDY) from error


def _lines(path: Path) -> list[bytes]:
    """The lines of the file; not a last one that was cut short."""
    if not path.is_file():
        return []
    *lines, rest = _content(path).split(b"\n")
    try:
        parse_json(rest.decode())
    except ValueError:
        return lines
    return [*lines, rest]


def _parsed(lines: list[bytes], path: Path) -> list[Record]:
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = _checked(parse_json(line.decode()))
        except ValueError as error:
            raise XtrainError(f"line {number} is damaged: {error}", where=path, remedy=_REMEDY) from error
        records.append(record)
    return records


def _checked(record: Any) -> Record:
    """The record. `ValueError` where it is none."""
    if not isinstance(record, dict) or record.get("kind") not in tuple(_KEYS):
        raise ValueError("no record of kind train or epoch")
    for key in {**dict.fromkeys(_KEYS[record["kind"]]), **record}:
        wanted = int if key in ("epoch", "step") else str if key == "kind" else (int, float)
        value = record.get(key)
        if not isinstance(value, wanted) or (isinstance(value, int) and abs(value) >= _TOO_LARGE):
            raise ValueError(f"its {key} is {value!r:.80}")
    return record


def _happened(record: Record, step: int, epoch: int) -> bool:
    """True for a record that a run which stands there has behind it."""
    key, place = ("epoch", epoch) if record["kind"] == "epoch" else ("step", step)
    return bool(record[key] <= place)
