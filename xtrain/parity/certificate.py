"""`parity.json`: every figure beside its noise, the verdict, and the hash of each trace it was made from.

The hashes show that a file was altered, not who made it: whoever can write it can write its hash too.
`xtrain.parity.verify` runs everything again and compares.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from math import isfinite
from pathlib import Path
from typing import Any

from xtrain.errors import UsageError, XtrainError
from xtrain.parity.compare import Row
from xtrain.parity.trace import DAMAGE, LEVELS, Trace, check_facts, contradictions, digest, hash_of, texts
from xtrain.system.files import write_atomically

_FORMAT = 2


@dataclass(frozen=True)
class Certificate:
    """What a comparison found.

    Args:
        traces: what was compared, without batches and tensors; their files' hashes stand for these.
        rows: every figure.
        margin: of the outcome's equivalence, a fraction of 1; None where no outcomes were compared.

    """

    traces: tuple[Trace, ...]
    rows: tuple[Row, ...]
    margin: float | None

    @classmethod
    def of(cls, traces: Sequence[Trace], rows: Sequence[Row], margin: float) -> "Certificate":
        """From traces and what their comparison gave."""
        kept = tuple(replace(trace, batches=[], tensors={}) for trace in traces)
        return cls(kept, tuple(rows), margin if "P6" in _common(traces) else None)

    @property
    def facts(self) -> tuple[Mapping[str, Any], ...]:
        """The facts of each trace: backend, versions, device, recipe."""
        return tuple(trace.facts for trace in self.traces)

    @property
    def losses(self) -> dict[str, list[list[float]]]:
        """Training losses of each backend, by draw of `UNITS` and by step."""
        return {trace.backend: trace.losses for trace in self.traces}

    @property
    def outcomes(self) -> dict[str, list[float]]:
        """Final accuracies of each backend, by seed."""
        return {trace.backend: trace.outcomes for trace in self.traces}

    @property
    def holds(self) -> bool:
        """True where every figure keeps within its bound."""
        return bool(self.rows) and all(row.holds for row in self.rows)

    def save(self, path: Path) -> None:
        """Write it as JSON, with a hash of everything that it says."""
        content = {
            "format": _FORMAT,
            "holds": self.holds,
            "margin": self.margin,
            "rows": [_strict(asdict(row)) | {"holds": row.holds} for row in self.rows],
            "traces": [_written(trace) for trace in self.traces],
        }
        write_atomically(path, json.dumps({**content, "sha256": digest(content)}, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Certificate":
        """Read what `save` wrote.

        Raises:
            UsageError: it is no certificate, or one of a format that is not read.
            XtrainError: it was altered: its hash is not its own, or it contradicts itself.

        """
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            _check_format(told["format"], path)
            if digest({name: told[name] for name in told if name != "sha256"}) != told["sha256"]:
                raise _altered("its hash is not that of what it says", path)
            margin = None if told["margin"] is None else float(told["margin"])
            found = cls(tuple(map(_trace, told["traces"])), tuple(map(_row, told["rows"])), margin)
            problems = list(_contradictions(found, told))
        except DAMAGE as error:
            raise UsageError(
                f"is no certificate: {error}",
                where=path,
                remedy="give a parity.json that xtrain parity wrote",
            ) from error
        if problems:
            raise _altered("; ".join(problems), path)
        return found


def _altered(problem: str, path: Path) -> XtrainError:
    return XtrainError(
        f"was altered after it was written: {problem}",
        where=path,
        remedy="nothing in it can be relied on; make it again: xtrain parity RECIPE",
    )


def _check_format(found: object, path: Path) -> None:
    if found == 1:
        raise UsageError(
            "is a certificate of format 1, which has no hashes and can't be verified",
            where=path,
            remedy="make it again: xtrain parity RECIPE",
        )
    if found != _FORMAT:
        raise ValueError(f"its format is {found}, this xtrain reads {_FORMAT}")


def _contradictions(found: Certificate, told: Mapping[str, Any]) -> Iterator[str]:
    """What a certificate says that can't be so, whatever a rerun would give."""
    names = [trace.backend for trace in found.traces]
    if len(set(names)) < max(2, len(names)):
        yield f"it compares {', '.join(names) or 'nothing'}, not two backends or more"
    for trace, written in zip(found.traces, told["traces"], strict=True):
        if trace.sha256 != written["sha256"]:
            yield f"{trace.backend}: the hash of its trace is not that of its {_HASHED}"
        lines = texts(trace)
        for name in ("losses.jsonl", "outcomes.jsonl"):
            if hash_of(lines[name]) != trace.files[name]:
                yield f"{trace.backend}: its {name.partition('.')[0]} are not those of its trace"
        for problem in contradictions(trace):
            yield f"{trace.backend}: {problem}"
    yield from _rows_against(found)
    said = [told["holds"], *(row["holds"] for row in told["rows"])]
    if said != [found.holds, *(row.holds for row in found.rows)]:
        yield "what it says of holding is not what its figures say"


_HASHED = "backend, device, threads, versions, system, recipe, levels, steps, seeds, terms and files"


def _rows_against(found: Certificate) -> Iterator[str]:
    """Where the rows are not of the levels and backends that were compared, or of the margin."""
    wanted, given = _implied(found.traces), {(row.level, row.pair) for row in found.rows}
    for level, pair in sorted(wanted - given):
        yield f"{level} has no figure of {', '.join(pair)}"
    for level, pair in sorted(given - wanted):
        yield f"{level} has a figure of {', '.join(pair)}, which were not compared there"
    counts = Counter((row.level, row.pair, row.item) for row in found.rows)
    for (level, _, item), count in counts.items():
        if count > 1:
            yield f"{level} has {item} more than once"
    if {row.allowed for row in found.rows if row.level == "P6"} != {found.margin} - {None}:
        yield f"the margin is {found.margin}, not what level P6 allows"


def _common(traces: Sequence[Trace]) -> list[str]:
    return [level for level in LEVELS if all(level in trace.levels for trace in traces)]


def _implied(traces: Sequence[Trace]) -> set[tuple[str, tuple[str, str]]]:
    """Levels and pairs of which there must be figures."""
    names = [trace.backend for trace in traces]
    pairs = list(combinations(names, 2))
    alone = [(name, "recipe") for name in names]
    return {(level, pair) for level in _common(traces) for pair in (alone if level == "P0" else pairs)}


def _strict(values: dict[str, Any]) -> dict[str, Any]:
    """What is not finite as text: JSON has no number for it."""
    return {
        name: str(value) if isinstance(value, float) and not isfinite(value) else value
        for name, value in values.items()
    }


def _row(values: Mapping[str, Any]) -> Row:
    first, second = values["pair"]
    figures = (float(values[name]) for name in ("error", "noise", "allowed"))
    return Row(values["level"], (first, second), values["item"], *figures)


def _written(trace: Trace) -> dict[str, Any]:
    return {
        **trace.evidence,
        "losses": trace.losses,
        "outcomes": trace.outcomes,
        "sha256": trace.sha256,
    }


def _trace(values: Mapping[str, Any]) -> Trace:
    check_facts(values["facts"])
    return Trace(
        values["facts"],
        dict(values["terms"]),
        losses=[list(map(float, draw)) for draw in values["losses"]],
        outcomes=list(map(float, values["outcomes"])),
        files=dict(values["files"]),
    )
