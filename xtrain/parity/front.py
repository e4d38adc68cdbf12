"""Parity in a call: what `xtrain parity RECIPE` does."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xtrain import plugins
from xtrain.errors import UsageError, XtrainError, suggest
from xtrain.parity import ladder, page
from xtrain.parity.bench import require_float32
from xtrain.parity.certificate import Certificate
from xtrain.parity.outcome import MARGIN
from xtrain.parity.trace import LEVELS, Ask
from xtrain.recipe import Recipe, job_of
from xtrain.training.assembly import Options


def parity(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    backends: Iterable[str] | None = None,
    *,
    levels: Sequence[str] = LEVELS[:-1],
    steps: int | None = None,
    seeds: int = 5,
    margin: float = MARGIN,
    device: str = "auto",
    threads: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
) -> Certificate:
    """Train a recipe under several backends and compare the numbers, each beside its noise.

    Each backend is recorded in a process of its own. `certificate.holds` is the verdict, `certificate.rows`
    has every figure.

    Args:
        recipe: a `Recipe`, a mapping, a path, or the name of a shipped one.
        backends: two names or more; by default all that are installed.
        levels: of `P0` to `P6`; by default all but the outcome over seeds, `P6`.
        steps: of the trajectory; by default an epoch.
        seeds: of level P6.
        margin: of level P6, a fraction of 1.
        device: `auto`, or a device that all of them have, such as `cpu`.
        threads: how many a framework may use; by default the backend's choice.
        overrides: values by dotted key, such as `{"optimizer.lr": 0.1}`.
        out: a folder for traces, parity.json and parity.html; by default nothing is kept.
        data_dir: where data sets are looked for first.

    """
    for level in levels:
        if level not in LEVELS:
            raise UsageError(f"levels: no level {level!r}", remedy=suggest(level, LEVELS))
    job = job_of(recipe, overrides)
    require_float32(job.recipe)
    place = Path(data_dir) if data_dir else None
    choices = [Options(name, device, threads, place) for name in _chosen(backends, device)]
    ask = Ask(tuple(level for level in LEVELS if level in levels), steps, seeds)
    if out is None:
        with tempfile.TemporaryDirectory(prefix="xtrain-") as folder:
            return ladder.judge(ladder.record_all(job, choices, ask, Path(folder), _silent), margin)
    certificate = ladder.judge(ladder.record_all(job, choices, ask, Path(out) / "traces", _silent), margin)
    try:
        certificate.save(Path(out) / "parity.json")
        page.save(certificate, Path(out) / "parity.html")
    except OSError as error:
        raise XtrainError(f"the certificate can't be written: {error.strerror}", where=out) from error
    return certificate


def _chosen(names: Iterable[str] | None, device: str) -> list[str]:
    """Two backends or more that are installed; `UsageError` where there are fewer."""
    if names is None:
        ready = [backend for backend in plugins.loadable() if plugins.installed(backend)]
        found = [backend.name for backend in sorted(ready, key=lambda backend: backend.rank)]
    else:
        found = list(names)
    for name in found:
        plugins.require(plugins.load(name, device))
    if len(set(found)) < max(2, len(found)):
        raise UsageError(
            f"backends: {', '.join(found)}: parity compares two different ones or more", remedy="name others"
        )
    return found


def _silent(text: str) -> None:
    """Recording says nothing in a call."""
