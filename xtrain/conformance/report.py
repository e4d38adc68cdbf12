"""What a run of the suite found: counts, levels, the JSON to publish and the badge."""

import json
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape

from xtrain import protocols
from xtrain.conformance.levels import LEVELS
from xtrain.system.distribution import version

Outcome = Literal["passed", "refused", "failed", "known"]
_GREEN, _OCHRE, _RED = "#2e7d32", "#8a6d00", "#c0392b"
OUTCOMES: tuple[Outcome, ...] = ("passed", "refused", "failed", "known")


@dataclass(frozen=True)
class Row:
    """One row of the suite.

    Args:
        row: its name: file, test, and what it was run over.
        needs: the levels beyond `core` that it needs.
        outcome: `refused` where the backend raised `UnsupportedError`, `known` where it fails as it states.
        seconds: how long it took.
        reason: of a refusal, a failure or a known deviation.

    """

    row: str
    needs: tuple[str, ...]
    outcome: Outcome
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class Level:
    """Whether a level is reached: all of its rows ran and passed.

    A row that needs two levels belongs to neither, so that one can be reached before the other. Where it
    fails, both have a failure.
    """

    reached: bool
    why: str
    passed: int = 0
    refused: int = 0
    failed: int = 0
    known: int = 0


@dataclass(frozen=True)
class Report:
    """A run of the suite under one backend.

    Args:
        backend: its name.
        framework: name and version of the framework.
        device: what it ran on.
        quick: whether the thorough rows were left out.
        whole: whether all other rows ran: no selection by name, no stop at a failure.
        seconds: wall-clock time of all.
        rows: in the order in which they ended.

    """

    backend: str
    framework: str
    device: str
    quick: bool
    whole: bool
    seconds: float
    rows: Sequence[Row] = field(default=())

    @property
    def counts(self) -> Mapping[str, int]:
        """How many rows had each outcome."""
        found = Counter(row.outcome for row in self.rows)
        return {outcome: found[outcome] for outcome in OUTCOMES}

    @property
    def levels(self) -> Mapping[str, Level]:
        """Every level, the first one first."""
        return {level: self._level(level) for level in LEVELS}

    def _level(self, level: str) -> Level:
        own = [row for row in self.rows if _belongs(row, level)]
        found = Counter(row.outcome for row in own)
        counts: dict[str, int] = {outcome: found[outcome] for outcome in OUTCOMES}
        if missed := [row for row in own if row.outcome != "passed"]:
            return Level(False, _why(missed), **counts)
        if not self.whole or not own:
            return Level(False, "not all of its rows ran", **counts)
        return Level(True, "", **counts)

    def to_json(self) -> str:
        """For a file that others read; its keys are in docs/writing-a-backend.md."""
        about: dict[str, Any] = {
            "backend": self.backend,
            "framework": self.framework,
            "device": self.device,
            "xtrain": version(),
            "contract": protocols.VERSION,
            "platform": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
            "date": datetime.now(UTC).date().isoformat(),
            "quick": self.quick,
            "whole": self.whole,
            "seconds": round(self.seconds, 1),
            **dict(self.counts),
            "levels": {name: asdict(level) for name, level in self.levels.items()},
            "rows": [asdict(row) for row in self.rows],
        }
        return json.dumps(about, indent=1) + "\n"

    def lines(self) -> Iterable[str]:
        """What the command prints in the end."""
        for name, level in self.levels.items() if self.whole else ():
            reached = "reached" if level.reached else f"not reached: {level.why}"
            yield f"{name:<11} {reached}"
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self.counts.items())
        quick = ", quick" if self.quick else ""
        yield f"{self.backend} ({self.framework}, {self.device}{quick}): {counts}, in {self.seconds:.0f} s"

    def badge(self) -> str:
        """An SVG with the levels that are reached; red where a row failed."""
        reached = [name for name, level in self.levels.items() if level.reached]
        said = "failed" if self.counts["failed"] else ", ".join(reached) or "no level yet"
        colour = _GREEN if len(reached) == len(LEVELS) else _OCHRE
        colour = _RED if self.counts["failed"] else colour
        return _badge(f"xtrain {self.backend}", said, colour)


def write(report: Report, path: Path) -> Path:
    """Write the JSON, and the badge beside it, whose path is returned."""
    path.write_text(report.to_json(), encoding="utf-8")
    badge = path.with_suffix(".svg")
    badge.write_text(report.badge(), encoding="utf-8")
    return badge


def _belongs(row: Row, level: str) -> bool:
    if set(row.needs) == {level} - {"core"}:
        return True
    ours = set(row.needs) <= LEVELS.keys()  # a layer of another package takes no level away
    return ours and level in row.needs and row.outcome in ("failed", "known")


def _why(missed: Sequence[Row]) -> str:
    """`12 refused: backend x has no lowering for layer lstm1 (LSTM)`: all counts, one reason."""
    counts = Counter(row.outcome for row in missed)
    told = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES[1:] if counts[outcome])
    worst = next((row for row in missed if row.outcome == "failed"), missed[0])
    first = worst.row if worst.outcome == "failed" else worst.reason
    return f"{told}, such as {first}"


def _badge(left: str, right: str, colour: str) -> str:
    widths = [11 + 7 * len(text) for text in (left, right)]
    places = (widths[0] / 2, left), (widths[0] + widths[1] / 2, right)
    texts = "".join(f'<text x="{x:g}" y="14">{escape(text)}</text>' for x, text in places)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{sum(widths)}" height="20" role="img">'
        f"<title>{escape(left)}: {escape(right)}</title>"
        f'<rect width="{sum(widths)}" height="20" rx="3" fill="#444"/>'
        f'<rect x="{widths[0]}" width="{widths[1]}" height="20" rx="3" fill="{colour}"/>'
        '<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f"{texts}</g>"
        "</svg>\n"
    )
