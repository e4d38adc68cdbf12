"""CPUs of MindSpore's threads, which its own settings do not reach."""

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from xtrain.errors import UnsupportedError

_WORKERS = ("ActorThread", "KernelThread")


def confine(threads: int) -> None:
    """Let the process use as many CPUs, for good.

    MindSpore divides its work by the CPUs it may use. OMP_NUM_THREADS and its own threads_num change
    neither that nor the load.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise UnsupportedError(
            "backend mindspore can limit its threads on Linux alone", remedy="leave threads out"
        )
    os.sched_setaffinity(0, _cpus()[:threads])


def spread() -> None:
    """Hold each of MindSpore's threads to a CPU, where with the caller's they outnumber the CPUs.

    Linux puts the one that hands out work and the one that shares it on the same CPU, the caller waiting
    busily on the other: on two, a step of cifar10_simplecnn takes 57 ms instead of 35, of mnist_mlp 5.4
    instead of 3.3. They start with MindSpore's first operation, such as taking over weights.
    """
    tasks = Path("/proc/self/task")  # Linux alone
    cpus = _cpus() if tasks.is_dir() else []
    workers = sorted((name, thread) for name, thread in _threads(tasks) if name.startswith(_WORKERS))
    if 1 < len(cpus) <= len(workers):
        for (_, thread), cpu in zip(workers, itertools.cycle(cpus)):
            os.sched_setaffinity(thread, {cpu})


def _cpus() -> list[int]:
    """CPUs this process may use, beginning with another one in each: several should not meet on the first."""
    allowed = sorted(os.sched_getaffinity(0))
    first = os.getpid() % len(allowed)
    return allowed[first:] + allowed[:first]


def _threads(tasks: Path) -> Iterator[tuple[str, int]]:
    """Names and numbers of this process's threads."""
    for task in tasks.glob("*"):
        with contextlib.suppress(OSError):  # it has just ended
            yield (task / "comm").read_text(), int(task.name)
