"""What one backend recorded of a recipe: a folder that compares on any machine.

`trace.json` has the facts (recipe, versions, device), the backend's terms (P0) and the hash of every other
file; `batches.jsonl` (P1) and `losses.jsonl` (P5) have a line for each step, `outcomes.jsonl` (P6) one for
each seed, `P2.0.safetensors` and so on the tensors of a level, one file for each draw.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
from safetensors.numpy import load_file, save_file

from xtrain.errors import UsageError, XtrainError
from xtrain.spec import State

UNITS = (0, 1, 16, 16)
"""Of each draw: by how many units in the last place its weights are moved; the first is the run itself."""
LEVELS = ("P0", "P1", "P2", "P3", "P4", "P5", "P6")

_FORMAT = 1


@dataclass(frozen=True)
class Ask:
    """What is recorded: levels, steps of the trajectory (at most the recipe's), seeds of the outcome."""

    levels: tuple[str, ...] = LEVELS[:-1]
    steps: int | None = None
    seeds: int = 5


@dataclass(frozen=True)
class Trace:
    """What one backend did.

    Args:
        facts: backend, device, versions, recipe and its hash, what was asked for.
        terms: P0, what each key became in the backend's own terms.
        batches: P1, for each step the hash of its images and labels.
        tensors: P2 to P4, for each level and draw of `UNITS` the tensors by name.
        losses: P5, for each draw the loss of every step.
        outcomes: P6, for each seed the final test accuracy.

    """

    facts: Mapping[str, Any]
    terms: Mapping[str, str] = field(default_factory=dict)
    batches: list[str] = field(default_factory=list)
    tensors: dict[str, list[State]] = field(default_factory=dict)
    losses: list[list[float]] = field(default_factory=list)
    outcomes: list[float] = field(default_factory=list)

    @property
    def backend(self) -> str:
        """Its name."""
        return str(self.facts["backend"])

    @property
    def levels(self) -> tuple[str, ...]:
        """What was recorded."""
        return tuple(self.facts["levels"])


def save(trace: Trace, folder: Path) -> None:
    """Write a trace; what the folder held of another is replaced."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in (*folder.glob("*.jsonl"), *folder.glob("P*.safetensors"), *folder.glob("trace.json")):
            old.unlink()
        _write_lines(folder / "batches.jsonl", ({"sha256": value} for value in trace.batches))
        _write_lines(folder / "losses.jsonl", ({"losses": row} for row in zip(*trace.losses, strict=True)))
        _write_lines(folder / "outcomes.jsonl", ({"accuracy": value} for value in trace.outcomes))
        for level, draws in trace.tensors.items():
            for draw, state in enumerate(draws):
                save_file(state, folder / f"{level}.{draw}.safetensors")
        files = {path.name: _sha256(path) for path in sorted(folder.iterdir()) if path.is_file()}
        about = {"format": _FORMAT, "facts": trace.facts, "terms": trace.terms, "files": files}
        (folder / "trace.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise XtrainError(f"the trace can't be written: {error.strerror}", where=folder) from error


def load(folder: Path) -> Trace:
    """Read what `save` wrote. `UsageError` where the folder is no trace, or not the one that was written."""
    try:
        about = json.loads((folder / "trace.json").read_text(encoding="utf-8"))
        if about["format"] != _FORMAT:
            raise ValueError(f"its format is {about['format']}, this xtrain reads {_FORMAT}")
        for name, expected in about["files"].items():
            if _sha256(folder / Path(name).name) != expected:
                raise ValueError(f"{name} is not the file that was written (its hash differs)")
        levels = [level for level in about["facts"]["levels"] if level in ("P2", "P3", "P4")]
        return Trace(
            facts=about["facts"],
            terms=about["terms"],
            batches=[line["sha256"] for line in _lines(folder / "batches.jsonl")],
            tensors={
                level: [load_file(folder / f"{level}.{draw}.safetensors") for draw in range(len(UNITS))]
                for level in levels
            },
            losses=list(
                map(list, zip(*(line["losses"] for line in _lines(folder / "losses.jsonl")), strict=True))
            ),
            outcomes=[line["accuracy"] for line in _lines(folder / "outcomes.jsonl")],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, safetensors.SafetensorError) as error:
        raise UsageError(
            f"is not a whole trace: {error}",
            where=folder,
            remedy="record it again: xtrain parity RECIPE --record",
        ) from error


def _write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
