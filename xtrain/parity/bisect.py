"""Where two backends diverge first: the earliest step, phase and tensor outside the envelope, and why."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors.numpy import load_file, save_file

from xtrain import data, homes, plugins
from xtrain.conformance.noise import distance
from xtrain.parity.bench import Bench
from xtrain.parity.causes import CAUSES, Cause, Situation
from xtrain.parity.compare import Row, judged
from xtrain.parity.trace import UNITS
from xtrain.parity.walk import PHASES, follow, lead, part
from xtrain.protocols import Backend
from xtrain.recipe import Job
from xtrain.spec import State
from xtrain.training import assembly
from xtrain.training.assembly import Options

REFERENCE = "numpy"
"""The backend that predicts what a cause would give."""

Observed = Mapping[int, Sequence[State]]
"""For each step, for each draw of `UNITS`, what was observed."""


@dataclass(frozen=True)
class Divergence:
    """Where two backends diverge.

    Args:
        step: the earliest.
        phase: the earliest of that step.
        row: the first tensor of that phase that is outside its bound.
        outside: names of all of the phase's tensors that are.
        causes: known differences that would give just what was observed.

    """

    step: int
    phase: str
    row: Row
    outside: tuple[str, ...]
    causes: tuple[str, ...]

    @property
    def layer(self) -> str:
        """Path of the layer, where the tensor is of one; else empty."""
        name = self.row.item.partition(",")[0]
        if self.phase == "forward":
            return name.partition("/")[2]
        return name.partition("/")[0].rpartition(".")[0]


def bisect(job: Job, first: Options, second: Options, numbers: Sequence[int]) -> Divergence | None:
    """Walk the steps `numbers` of `first` and let `second` follow, each in a process of its own."""
    with TemporaryDirectory(prefix="xtrain-bisect-") as path:
        folder = Path(path)
        for options in (first, second):
            homes.call(options.backend, record, job, options, numbers, folder, leads=options is first)
        draws = range(len(UNITS))
        ours, theirs = (
            {n: [load_file(_path(folder, n, f"{who}.{draw}")) for draw in draws] for n in numbers}
            for who in ("first", "second")
        )
        leaders = {n: load_file(_path(folder, n, "leader")) for n in numbers}
        arrays = assembly.load_data(job, first.data_dir)

        def situate(number: int) -> Situation:
            reference = plugins.load(REFERENCE)
            return Situation(reference, job, arrays, number, leaders[number], ours[number][0])

        return find((first.backend, second.backend), ours, theirs, situate)


def record(job: Job, options: Options, numbers: Sequence[int], folder: Path, leads: bool) -> None:
    """Open the backend in this process and write what it observes; where it leads, also what it is fed."""
    backend = assembly.open_backend(options, job.model, job.recipe.loop.precision)
    arrays = assembly.load_data(job, options.data_dir)
    if leads:
        for number, leader in lead(Bench(backend, job, arrays), numbers).items():
            _save(leader, _path(folder, number, "leader"))
    leaders = {number: load_file(_path(folder, number, "leader")) for number in numbers}
    for number, draws in observe(backend, job, arrays, leaders).items():
        for draw, found in enumerate(draws):
            _save(found, _path(folder, number, f"{'first' if leads else 'second'}.{draw}"))


def observe(backend: Backend, job: Job, arrays: data.Arrays, leaders: Mapping[int, State]) -> Observed:
    """What a backend observes at the leader's steps."""
    bench, draws = Bench(backend, job, arrays), range(len(UNITS))
    return {n: [follow(bench, n, leader, draw) for draw in draws] for n, leader in leaders.items()}


def find(
    pair: tuple[str, str], ours: Observed, theirs: Observed, situate: Callable[[int], Situation]
) -> Divergence | None:
    """The earliest tensor outside its bound; None where there is none."""
    for number in sorted(ours):
        for phase in PHASES:
            first, second = ([part(draw, phase) for draw in seen[number]] for seen in (ours, theirs))
            rows = [_judged(phase, pair, name, first, second) for name in first[0]]
            outside = tuple(row.item for row in rows if not row.holds)
            if outside:
                situation, bounds = situate(number), {row.item: row.allowed for row in rows}
                causes = tuple(
                    cause.name
                    for cause in CAUSES[phase]
                    if _explains(cause, situation, phase, outside, bounds, first[0], second[0])
                )
                return Divergence(number, phase, next(r for r in rows if not r.holds), outside, causes)
    return None


def _judged(
    phase: str, pair: tuple[str, str], name: str, ours: Sequence[State], theirs: Sequence[State]
) -> Row:
    row = judged(phase, pair, name, ours, theirs)
    return replace(row, noise=0.0, allowed=0.0) if phase == "data" else row  # equal to the bit


def _explains(
    cause: Cause,
    situation: Situation,
    phase: str,
    outside: Sequence[str],
    bounds: Mapping[str, float],
    right: State,
    observed: State,
) -> bool:
    """True where what the cause would give is what was observed, and not what is right."""
    for name in _concerned(phase, outside, observed):
        predicted = cause.predict(situation, name)
        if predicted is None or predicted.shape != observed[name].shape:
            return False
        bound = bounds[name] or float(np.finfo(np.float32).eps) * float(np.abs(predicted).max(initial=0.0))
        if not distance(predicted, observed[name]) <= bound:
            return False
        if name == outside[0] and distance(predicted, right[name]) <= bound:
            return False
    return True


def _concerned(phase: str, outside: Sequence[str], observed: State) -> Sequence[str]:
    """The tensors that a cause of the first one outside must explain."""
    if phase == "forward":  # every layer was fed the right input: each has a cause of its own
        return outside[:1]
    if phase == "optimizer":  # where the moments are right, a cause may say nothing of them
        moments_too = "/" in outside[0]
        return [name for name in observed if name != "step" and (moments_too or "/" not in name)]
    return list(observed)


def _path(folder: Path, number: int, who: str) -> Path:
    return folder / f"step-{number}.{who}.safetensors"


def _save(state: State, path: Path) -> None:
    save_file({name: np.asarray(value, order="C") for name, value in state.items()}, path)
