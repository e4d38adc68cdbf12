"""Compares traces, and nothing but traces: each figure beside the noise it is judged by.

Two backends may lie as far apart as either lies from itself when its weights are moved by 16 units in the
last place; on a trajectory twice as far, for there rounding has grown, and two backends are two draws of one
distribution.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from xtrain.conformance.noise import EPSILON, TINY, distance, least
from xtrain.errors import UsageError
from xtrain.parity import outcome
from xtrain.parity.trace import LEVELS, UNITS, Trace
from xtrain.recipe import Job
from xtrain.spec import State

TRAJECTORY = 2.0
"""Maxima of two draws of one distribution are seldom further apart."""

SPREAD = 4.0
"""Where all but rounding cancels out, as in the gradient of a bias before a batch norm, noise is no larger
for weights that move further: two backends may then be so many times the noise apart."""
_GRADIENTS = ("P3", "backward")


@dataclass(frozen=True)
class Row:
    """One figure of two backends.

    Args:
        level: `P0` to `P6`.
        pair: the two backends.
        item: what was compared, such as `train/conv1`.
        error: how far the two lie apart.
        noise: how far a backend lies from itself when its weights are moved by one unit in the last place.
        allowed: the bound.

    """

    level: str
    pair: tuple[str, str]
    item: str
    error: float
    noise: float
    allowed: float

    @property
    def holds(self) -> bool:
        """False for NaN too, and where a bound is not finite: beside infinity all would hold."""
        return self.error <= self.allowed < np.inf and self.noise < np.inf

    @property
    def share(self) -> float:
        """Error as a share of what is allowed; infinite where one of the figures is no number."""
        if self.holds:
            return self.error / self.allowed if self.error else 0.0
        finite = np.isfinite([self.error, self.noise, self.allowed]).all()
        return self.error / self.allowed if finite and self.allowed else float("inf")


def compare(traces: Sequence[Trace], job: Job, margin: float = outcome.MARGIN) -> list[Row]:
    """Every figure of every pair, for the levels that all traces have."""
    _check(traces)
    levels = [level for level in LEVELS if all(level in trace.levels for trace in traces)]
    rows = []
    for level in levels:
        if level == "P0":
            rows += [_terms(trace, job) for trace in traces]
        for a, b in combinations(traces, 2):
            if level == "P1":
                rows.append(_batches(a, b))
            elif level == "P5":
                rows.append(_trajectory(a, b))
            elif level == "P6":
                rows.append(_outcome(a, b, margin))
            elif level != "P0":
                rows += _tensors(level, a, b)
    return rows


def reruns(then: Trace, today: Trace, margin: float | None) -> list[Row]:
    """Losses and accuracies of one backend, recorded twice, compared as those of two are."""
    rows = [_trajectory(then, today)] if then.losses and today.losses else []
    return rows if margin is None else [*rows, _outcome(then, today, margin)]


def worst(rows: Sequence[Row]) -> list[Row]:
    """Of each level and pair the row that comes nearest to its bound, or lies furthest beyond; in order."""
    found: dict[tuple[str, tuple[str, str]], Row] = {}
    for row in rows:
        key = (row.level, row.pair)
        if key not in found or not row.share <= found[key].share:
            found[key] = row
    return list(found.values())


def envelope(
    draws: Sequence[Sequence[float]] | NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """By step, the largest relative difference so far from the run itself: nudged by one unit, and by 16."""
    runs = np.array(draws)
    apart = relative(runs[0], runs)
    so_far = np.maximum.accumulate(apart, axis=1)
    return _beyond(so_far, 1), _beyond(so_far, max(UNITS))


def relative(run: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """By step, how far another run's losses lie from a run's; 0 where both are 0."""
    apart: NDArray[np.float64] = np.abs(other - run) / np.maximum(np.abs(run), TINY)
    return apart


def _check(traces: Sequence[Trace]) -> None:
    if len(traces) < 2:
        raise UsageError("one trace compares with nothing", remedy="give two traces or more")
    names = [trace.backend for trace in traces]
    first = traces[0]
    for trace in traces[1:]:
        if trace.facts["recipe_sha256"] != first.facts["recipe_sha256"]:
            raise UsageError(
                f"the traces of {first.backend} and {trace.backend} are of different recipes",
                remedy="record both from the same recipe; the seed is part of it",
            )
    if len(set(names)) < len(names):
        raise UsageError(f"two traces are of one backend: {', '.join(names)}")
    if not set(first.levels).intersection(*(trace.levels for trace in traces)):
        levels = "; ".join(f"{trace.backend} has {', '.join(trace.levels)}" for trace in traces)
        raise UsageError(
            f"no level is in all of the traces: {levels}", remedy="record both with one --levels"
        )


def _terms(trace: Trace, job: Job) -> Row:
    """Every layer, the loss and every key of the optimizer has a term of the backend; nothing else has."""
    layers = {f"model.{node.path}" for node in job.model.walk()}
    keys = {f"optimizer.{field.name}" for field in fields(job.recipe.optimizer)}
    wanted = layers | keys | {"loss"}
    different = sorted(wanted ^ trace.terms.keys())
    item = f"{len(trace.terms)} terms"
    if different:
        item = f"{different[0]} {'has no term' if different[0] in wanted else 'is not of the recipe'}"
    return Row("P0", (trace.backend, "recipe"), item, float(len(different)), 0.0, 0.0)


def _batches(a: Trace, b: Trace) -> Row:
    pairs = list(zip(a.batches, b.batches, strict=False))  # of the steps that both have
    different = [step for step, (ours, theirs) in enumerate(pairs, 1) if ours != theirs]
    item = f"step {different[0]}" if different else f"{len(pairs)} batches"
    return Row("P1", (a.backend, b.backend), item, float(len(different)), 0.0, 0.0)


def _tensors(level: str, a: Trace, b: Trace) -> Iterator[Row]:
    for name in dict.fromkeys([*a.tensors[level][0], *b.tensors[level][0]]):
        yield judged(level, (a.backend, b.backend), name, a.tensors[level], b.tensors[level])


def judged(
    level: str, pair: tuple[str, str], name: str, ours: Sequence[State], theirs: Sequence[State]
) -> Row:
    """One tensor of two backends, each with the draws of `UNITS`."""
    value, other = ours[0].get(name), theirs[0].get(name)
    if value is None or other is None or other.shape != value.shape:
        return Row(level, pair, f"{name}, in one only or of another shape", float("inf"), 0.0, 0.0)
    units = max(UNITS)
    noise, far = (max(_moved(ours, name, by), _moved(theirs, name, by)) for by in (1, units))
    spread = SPREAD * noise if level in _GRADIENTS else 0.0
    floor = least(value)
    noise, allowed = max(noise, floor), max(far, spread, units * floor)
    return Row(level, pair, name, distance(value, other), noise, allowed)


def _moved(draws: Sequence[State], name: str, units: int) -> float:
    """How far the draws of so many units lie from the run itself, beyond what the run does by itself."""
    apart = np.array([[distance(draw[name], draws[0][name])] for draw in draws])
    return float(_beyond(apart, units)[0])


def _beyond(apart: NDArray[np.float64], units: int) -> NDArray[np.float64]:
    """Of distances [draw, ...]: the largest of the draws of so many units, less twice those of none.

    A backend that gives other numbers each time must not widen its own bound. Infinite, a bound that never
    holds, where one of them is no number.
    """
    by = np.array(UNITS)
    with np.errstate(invalid="ignore"):
        largest = apart[by == units].max(axis=0) - 2 * apart[by == 0].max(axis=0)
    found: NDArray[np.float64] = np.where(np.isfinite(apart).all(axis=0), largest, np.inf)
    return found


def _trajectory(a: Trace, b: Trace) -> Row:
    """The step whose losses come nearest to the envelope, or lie furthest beyond."""
    steps = min(len(a.losses[0]), len(b.losses[0]))  # those that both have
    ours, theirs = (np.array(trace.losses)[:, :steps] for trace in (a, b))
    apart = relative(ours[0], theirs[0])
    (noise, moved), (other_noise, other_moved) = envelope(ours), envelope(theirs)
    allowed = TRAJECTORY * np.maximum(np.maximum(moved, other_moved), max(UNITS) * EPSILON)
    share = apart / allowed
    finite = np.isfinite([share, allowed, noise, other_noise]).all(axis=0)
    place = int(np.argmax(np.where(finite, share, np.inf)))
    item = f"step {place + 1} of {steps}"
    floor = float(np.max([noise[place], other_noise[place], EPSILON]))
    return Row("P5", (a.backend, b.backend), item, float(apart[place]), floor, float(allowed[place]))


def _outcome(a: Trace, b: Trace, margin: float) -> Row:
    """Error: the far end of the interval that the tests leave for the difference of means."""
    seeds = min(len(a.outcomes), len(b.outcomes))  # those that both have
    found = outcome.equivalence(a.outcomes[:seeds], b.outcomes[:seeds])
    needed = outcome.seeds_needed(found.spread, margin) or "too many"
    item = f"{seeds} seeds of {needed} needed, means differ by {found.difference:+.4f}"
    return Row("P6", (a.backend, b.backend), item, found.bound, found.spread, margin)
