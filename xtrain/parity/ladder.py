"""The ladder: backends record, each in a process of its own; the traces give a certificate."""

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from xtrain import homes
from xtrain.parity import outcome
from xtrain.parity.certificate import Certificate
from xtrain.parity.compare import compare
from xtrain.parity.outcome import MARGIN
from xtrain.parity.record import record
from xtrain.parity.trace import Ask, Trace, load
from xtrain.recipe import Job, parse
from xtrain.training.assembly import Options

Say = Callable[[str], None]


def record_all(job: Job, choices: Sequence[Options], ask: Ask, folder: Path, say: Say) -> list[Path]:
    """Record each backend's trace under `folder`, one after another; where they lie."""
    paths = []
    for options in choices:
        say(f"recording {options.backend}")
        path = folder / options.backend
        homes.call(options.backend, record, job, options, ask, path)
        paths.append(path)
    return paths


def require(ask: Ask) -> None:
    """`MissingError` where what is recorded could not be judged here."""
    if "P6" in ask.levels:
        outcome.require()


def judge(paths: Sequence[Path], margin: float = MARGIN) -> Certificate:
    """Compare traces, from wherever they are."""
    traces = [load(path) for path in paths]
    return Certificate.of(traces, compare(traces, job_of(traces[0]), margin), margin)


def job_of(trace: Trace) -> Job:
    """What a trace was recorded from."""
    where = f"the trace of {trace.backend}"
    return parse(tomllib.loads(str(trace.facts["recipe"])), where).bind(where=where)


def again(given: Certificate, data_dir: Path | None, folder: Path, say: Say) -> Certificate:
    """Rerun what a certificate says, with its backends, devices, threads and levels."""
    where = "the certificate's recipe"
    job = parse(tomllib.loads(given.facts[0]["recipe"]), where).bind(where=where)
    paths = []
    for facts in given.facts:
        options = Options(facts["backend"], facts["device"], facts["threads"], data_dir)
        ask = Ask(tuple(facts["levels"]), facts["steps"], facts["seeds"])
        require(ask)
        paths += record_all(job, [options], ask, folder, say)
    return judge(paths, MARGIN if given.margin is None else given.margin)
