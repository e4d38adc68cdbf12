"""`parity.json`: every figure beside its noise, the verdict; and what a rerun finds otherwise."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from xtrain.errors import UsageError
from xtrain.parity.compare import Row
from xtrain.parity.trace import DAMAGE, Trace, check_facts
from xtrain.system.files import write_atomically

_FORMAT = 1


@dataclass(frozen=True)
class Certificate:
    """What a comparison found.

    Args:
        facts: of each trace: backend, versions, device, recipe.
        rows: every figure.
        losses: of each backend, for each draw of `UNITS` the losses by step.
        outcomes: of each backend the final accuracies by seed.
        margin: of the outcome's equivalence.

    """

    facts: tuple[Mapping[str, Any], ...]
    rows: tuple[Row, ...]
    losses: Mapping[str, list[list[float]]]
    outcomes: Mapping[str, list[float]]
    margin: float

    @classmethod
    def of(cls, traces: Sequence[Trace], rows: Sequence[Row], margin: float) -> "Certificate":
        """From traces and what their comparison gave."""
        losses = {trace.backend: trace.losses for trace in traces}
        outcomes = {trace.backend: trace.outcomes for trace in traces}
        return cls(tuple(trace.facts for trace in traces), tuple(rows), losses, outcomes, margin)

    @property
    def holds(self) -> bool:
        """True where every figure keeps within its bound."""
        return bool(self.rows) and all(row.holds for row in self.rows)

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        rows = [_strict(asdict(row)) | {"holds": row.holds} for row in self.rows]
        written = {"format": _FORMAT, "holds": self.holds} | asdict(self) | {"rows": rows}
        write_atomically(path, json.dumps(written, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Certificate":
        """Read what `save` wrote. `UsageError` where it is no certificate."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["format"] != _FORMAT:
                raise ValueError(f"its format is {found['format']}, this xtrain reads {_FORMAT}")
            rows = tuple(_row(values) for values in found["rows"])
            facts = tuple(found["facts"])
            for given in facts:
                check_facts(given)
            names = [given["backend"] for given in facts]
            losses, outcomes = ({name: found[key][name] for name in names} for key in ("losses", "outcomes"))
            if len(set(names)) < 2:
                raise ValueError(f"it is of {len(set(names))} backends")
            return cls(facts, rows, losses, outcomes, float(found["margin"]))
        except DAMAGE as error:
            raise UsageError(
                f"is no certificate: {error}",
                where=path,
                remedy="give a parity.json that xtrain parity wrote",
            ) from error


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


def differences(before: Certificate, now: Certificate) -> list[str]:
    """What a rerun found otherwise, a line each; nothing where it gave the same numbers to the bit."""
    found = []
    for then, today in zip(before.facts, now.facts, strict=True):
        if then["versions"] != today["versions"]:
            found.append(f"{then['backend']}: versions were {then['versions']}, are {today['versions']}")
        name = then["backend"]
        if before.losses[name] != now.losses[name]:
            found.append(f"{name}: losses are not those recorded, to the bit")
        if before.outcomes[name] != now.outcomes[name]:
            found.append(f"{name}: accuracies were {before.outcomes[name]}, are {now.outcomes[name]}")
    # repr: a NaN is itself again, and differs from itself.
    figures = [{(row.level, row.pair, row.item): repr(row) for row in of.rows} for of in (before, now)]
    different = [key for key in figures[0] | figures[1] if figures[0].get(key) != figures[1].get(key)]
    if different:
        level, pair, item = different[0]
        found.append(f"{len(different)} figures are not those recorded: {level} {', '.join(pair)}, {item}")
    return found
