"""A training in several processes on this machine, started by the launcher of the backend's framework."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from xtrain import homes, plugins
from xtrain.errors import UsageError
from xtrain.recipe import Job
from xtrain.system.launched import Launch, launched
from xtrain.system.machine import usable_cores
from xtrain.training.assembly import Options
from xtrain.training.observers.relay import relayed

T = TypeVar("T")


def in_processes(
    options: Options,
    job: Job,
    path: Path,
    call: Callable[[Options], tuple[Callable[..., T], *tuple[Any, ...]]],
) -> T:
    """What a call gives in the first of several processes.

    Args:
        options: of the training; the cores are shared out where no number of threads is given.
        job: what is trained.
        path: of the run's directory.
        call: function and arguments, by the options that each process is handed.

    Raises:
        UnsupportedError: the backend trains in one process alone.
        XtrainError: one of them has ended without a word, and so have the others.

    """
    backend = plugins.load(options.backend, options.device, options.threads)
    engine = plugins.require_engine(backend)
    if plugins.place(backend).size > 1:
        raise UsageError(
            f"--processes {options.processes}: a launcher has started this process already",
            remedy="leave it out: all processes that were started train together",
        )
    interpreter = homes.interpreter(options.backend)
    if interpreter is None:
        plugins.require(backend)
    threads = options.threads or max(1, usable_cores() // options.processes)
    remedy = f"checkpoints written before are kept; go on with: xtrain run --resume {path}"
    launch = Launch(
        options.processes,
        lambda port, logs: engine.launcher(options.processes, port, logs),
        {**engine.environment(), **backend.environment(job.model, threads)},
        remedy,
    )
    with relayed(options.observers) as told:
        own = replace(options, processes=1, threads=threads, observers=told)
        function, *arguments = call(own)
        return launched(launch, interpreter, function, *arguments)
