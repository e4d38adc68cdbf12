"""What one backend recorded of a recipe: a folder that compares on any machine.

`trace.json` has the facts (recipe, versions, device), the backend's terms (P0), the hash of every other file,
and one hash of all this. `batches.jsonl` (P1) and `losses.jsonl` (P5) have a line for each step,
`outcomes.jsonl` (P6) one for each seed, `P2.0.safetensors` and so on the tensors of a level, one file for
each draw.
"""

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors
from safetensors.numpy import load_file, save_file

from xtrain.errors import UsageError, XtrainError
from xtrain.spec import State

UNITS = (0, 1, 16, 16, 0)
"""Of each draw: by how many units in the last place its weights are moved; the first is the run itself, the
last the same again."""
LEVELS = ("P0", "P1", "P2", "P3", "P4", "P5", "P6")

_FORMAT = 2
DAMAGE = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError),
    safetensors.SafetensorError,
)
"""What reading a file raises that is not what was written."""


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
        files: for each file the hash that `save` wrote; empty before that.

    """

    facts: Mapping[str, Any]
    terms: Mapping[str, str] = field(default_factory=dict)
    batches: list[str] = field(default_factory=list)
    tensors: dict[str, list[State]] = field(default_factory=dict)
    losses: list[list[float]] = field(default_factory=list)
    outcomes: list[float] = field(default_factory=list)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def backend(self) -> str:
        """Its name."""
        return str(self.facts["backend"])

    @property
    def levels(self) -> tuple[str, ...]:
        """What was recorded."""
        return tuple(self.facts["levels"])

    @property
    def evidence(self) -> dict[str, Any]:
        """What its hash covers: facts, terms, and through their hashes all files."""
        return {"facts": self.facts, "terms": self.terms, "files": self.files}

    @property
    def sha256(self) -> str:
        """The hash of all that was recorded, as `load` found it."""
        return digest(self.evidence)


def save(trace: Trace, folder: Path) -> None:
    """Write a trace; what the folder held of another is replaced."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in (*folder.glob("*.jsonl"), *folder.glob("P*.safetensors"), *folder.glob("trace.json")):
            old.unlink()
        for name, text in texts(trace).items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
        for level, draws in trace.tensors.items():
            for draw, state in enumerate(draws):
                save_file(state, folder / f"{level}.{draw}.safetensors")
        files = {path.name: _sha256(path) for path in sorted(folder.iterdir()) if path.is_file()}
        whole = replace(trace, files=files)
        about = {"format": _FORMAT, **whole.evidence, "sha256": whole.sha256}
        (folder / "trace.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    except (OSError, safetensors.SafetensorError) as error:
        problem = getattr(error, "strerror", None) or error
        raise XtrainError(f"the trace can't be written: {problem}", where=folder) from error


def load(folder: Path) -> Trace:
    """Read what `save` wrote. `UsageError` where the folder is no trace, or not the one that was written."""
    try:
        about = json.loads((folder / "trace.json").read_text(encoding="utf-8"))
        if about["format"] != _FORMAT:
            raise ValueError(f"its format is {about['format']}, this xtrain reads {_FORMAT}")
        for name, expected in about["files"].items():
            if _sha256(folder / Path(name).name) != expected:
                raise ValueError(f"{name} is not the file that was written (its hash differs)")
        if digest({name: about[name] for name in ("facts", "terms", "files")}) != about["sha256"]:
            raise ValueError("trace.json is not the file that was written (its hash differs)")
        check_facts(about["facts"])
        levels = [level for level in about["facts"]["levels"] if level in ("P2", "P3", "P4")]
        unlisted = {f"{level}.{draw}.safetensors" for level in levels for draw in range(len(UNITS))}
        unlisted |= {"batches.jsonl", "losses.jsonl", "outcomes.jsonl"}
        unlisted -= about["files"].keys()
        if unlisted:
            raise ValueError(f"{min(unlisted)} is not among its files")
        losses = [map(float, line["losses"]) for line in _lines(folder / "losses.jsonl")]
        found = Trace(
            facts=about["facts"],
            terms=dict(about["terms"]),
            batches=[line["sha256"] for line in _lines(folder / "batches.jsonl")],
            tensors={
                level: [load_file(folder / f"{level}.{draw}.safetensors") for draw in range(len(UNITS))]
                for level in levels
            },
            losses=list(map(list, zip(*losses, strict=True))),
            outcomes=[float(line["accuracy"]) for line in _lines(folder / "outcomes.jsonl")],
            files=about["files"],
        )
        _check(found)
        return found
    except DAMAGE as error:
        raise UsageError(
            f"is not a whole trace: {error}",
            where=folder,
            remedy="record it again: xtrain parity RECIPE --record",
        ) from error


_FACTS = {
    **dict.fromkeys(("backend", "device", "system", "recipe", "recipe_sha256"), str),
    **{"steps": int, "seeds": int, "levels": list, "versions": dict, "threads": int | None},
}


def check_facts(facts: Mapping[str, Any]) -> None:
    """An error of `DAMAGE` where one is missing or of another type."""
    for name, kind in _FACTS.items():
        if not isinstance(facts[name], kind):
            raise TypeError(f"{name} is {facts[name]!r}")
    if not set(facts["levels"]) <= set(LEVELS):
        raise ValueError(f"levels are {facts['levels']!r}")
    tomllib.loads(facts["recipe"])


def contradictions(trace: Trace) -> Iterator[str]:
    """What facts, losses and accuracies say against one another."""
    facts = trace.facts
    if facts["recipe_sha256"] != hash_of(facts["recipe"]):
        yield "its recipe is not the one that was recorded (its hash differs)"
    if trace.backend not in facts["versions"]:
        yield f"its versions have none of {trace.backend}"
    steps, seeds = facts["steps"], facts["seeds"]
    if [len(draw) for draw in trace.losses] != ([steps] * len(UNITS) if "P5" in trace.levels else []):
        yield f"it has not the losses of levels {', '.join(trace.levels)} and {steps} steps"
    if len(trace.outcomes) != (seeds if "P6" in trace.levels else 0):
        yield f"it has not the accuracies of levels {', '.join(trace.levels)} and {seeds} seeds"


def _check(trace: Trace) -> None:
    """`ValueError` where a level lacks something, or the trace contradicts itself."""
    for level, draws in trace.tensors.items():
        shapes = [{name: value.shape for name, value in state.items()} for state in draws]
        if not shapes[0] or any(other != shapes[0] for other in shapes):
            raise ValueError(f"{level} has not the same tensors in every draw")
    if "P1" in trace.levels and not trace.batches:
        raise ValueError("P1 has no batches")
    for problem in contradictions(trace):
        raise ValueError(problem)


def texts(trace: Trace) -> dict[str, str]:
    """What the files of lines hold, by name."""
    lines: dict[str, list[dict[str, Any]]] = {
        "batches.jsonl": [{"sha256": value} for value in trace.batches],
        "losses.jsonl": [{"losses": row} for row in zip(*trace.losses, strict=True)],
        "outcomes.jsonl": [{"accuracy": value} for value in trace.outcomes],
    }
    return {name: "".join(json.dumps(line) + "\n" for line in found) for name, found in lines.items()}


def digest(value: object) -> str:
    """SHA-256 of a value's JSON; the order of keys and the layout of a file do not matter."""
    return hash_of(json.dumps(value, sort_keys=True, separators=(",", ":")))


def hash_of(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
