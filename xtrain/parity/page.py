"""A certificate as one self-contained HTML page: the ladder, the curves and their difference, all figures."""

import io
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from xtrain.conformance.noise import EPSILON
from xtrain.errors import MissingError
from xtrain.parity.certificate import Certificate
from xtrain.parity.compare import TRAJECTORY, Row, envelope, relative, worst
from xtrain.parity.trace import UNITS
from xtrain.runs.run import note
from xtrain.system.distribution import need
from xtrain.system.files import write_atomically

_HEADERS = ("level", "backends", "figure", "difference", "noise", "allowed", "")


def save(certificate: Certificate, path: Path) -> None:
    """Write the page."""
    write_atomically(path, page(certificate))


def page(certificate: Certificate) -> str:
    """The page's HTML; no script, no other file."""
    first = certificate.facts[0]
    name, verdict = tomllib.loads(first["recipe"])["name"], _verdict(certificate.holds)
    parts = [
        f"<h1>{escape(name)}: parity <b class={'yes' if certificate.holds else 'no'}>{verdict}</b></h1>",
        _about(certificate),
        "<h2>The figure of each level and pair that comes nearest to its bound</h2>",
        _rows(worst(certificate.rows)),
        _picture(certificate),
        "<h2>Recorded by</h2>",
        _table(("backend", "device", "steps", "versions", "system"), map(_machine, certificate.facts)),
        f"<details><summary>All figures</summary>{_rows(certificate.rows)}</details>",
        f"<details><summary>The recipe</summary><pre>{escape(first['recipe'])}</pre></details>",
    ]
    title = escape(f"{name}: parity {verdict}")
    return _PAGE.format(title=title, style=_STYLE, body="\n".join(parts))


def _picture(certificate: Certificate) -> str:
    """The figure, or why there is none."""
    if not all(certificate.losses.values()):
        return ""
    try:
        return figure(certificate)
    except MissingError as error:
        note(f"no picture in the page: {error}")
        return f"<p>No picture: {escape(error.problem)}.</p>"


def figure(certificate: Certificate) -> str:
    """Curves over one another, and below the difference of each pair with what is allowed, as SVG."""
    need("matplotlib", "parity", "the picture of a certificate")
    # matplotlib takes a second to load; the object interface leaves its global state alone.
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    drawn = Figure(figsize=(10, 6.5), layout="constrained")
    FigureCanvasSVG(drawn)
    curves, apart = drawn.subplots(2, 1, sharex=True)
    common = min(facts["steps"] for facts in certificate.facts)
    losses = {backend: np.array(draws)[:, :common] for backend, draws in certificate.losses.items()}
    steps = np.arange(1, common + 1)
    for backend, draws in losses.items():
        curves.plot(steps, draws[0], lw=1, label=backend)
    for a, b in combinations(losses, 2):
        difference = relative(losses[a][0], losses[b][0])
        shown = np.maximum(difference, EPSILON / 8)  # 0 has no logarithm
        apart.semilogy(steps, shown, lw=0.8, label=f"{a}, {b}")
    moved = np.max([envelope(draws)[1] for draws in losses.values()], axis=0)
    allowed = TRAJECTORY * np.maximum(moved, max(UNITS) * EPSILON)
    apart.semilogy(steps, allowed, color="black", lw=1, ls="--", label="allowed (largest of the pairs)")
    curves.set(ylabel="loss")
    apart.set(ylabel="relative difference", xlabel="step")
    for axes in (curves, apart):
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", ncols=2)
    text = io.StringIO()
    drawn.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return f"<h2>Losses, and how far they lie apart</h2>{svg[svg.index('<svg') :]}"


def cells(row: Row) -> tuple[str, ...]:
    """A row as text."""
    figures = map(_number, (row.error, row.noise, row.allowed))
    return (row.level, ", ".join(row.pair), row.item, *figures, _verdict(row.holds))


def _verdict(holds: bool) -> str:
    return "holds" if holds else "does not hold"


def _number(value: float) -> str:
    return f"{value:.2g}" if value else "0"


def _about(certificate: Certificate) -> str:
    facts = certificate.facts[0]
    return (
        f"<p>{len(certificate.rows):,} figures of {len(certificate.facts)} backends; recipe "
        f"<code>{escape(facts['recipe_sha256'][:16])}</code>. Noise: how far a backend lies "
        "from itself when its weights are moved by one unit in the last place of float32; allowed: by "
        f"{max(UNITS)} units, on the trajectory {TRAJECTORY:g} times that.</p>"
    )


def _machine(facts: Mapping[str, Any]) -> tuple[str, ...]:
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return (facts["backend"], facts["device"], str(facts["steps"]), versions, facts["system"])


def _rows(rows: Sequence[Row]) -> str:
    return _table(_HEADERS, map(cells, rows))


def _table(headers: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(header)}</th>" for header in headers)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(text: str) -> str:
    kind = {"holds": " class=yes", "does not hold": " class=no"}.get(text, "")
    return f"<td{kind}>{escape(text)}</td>"


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
td, th { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid #e4e4e4; }
.yes { color: #17692f; } .no { color: #b3201e; font-weight: bold; }
svg { width: 100%; height: auto; } pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; }
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{style}</style></head>
<body>
{body}
</body></html>
"""
