"""The number of threads that a backend was asked for, seen from outside it: who uses the processor."""

import os
import time
from pathlib import Path

from xtrain import plugins
from xtrain.conformance.cases import split, step_input
from xtrain.conformance.parts import batch, build
from xtrain.errors import MissingError, UnsupportedError
from xtrain.protocols import Backend
from xtrain.spec import Flatten, Linear, ModelSpec, ReLU
from xtrain.system.isolated import isolated

SECONDS = 0.6
"""Processor time to be used: the system counts it in hundredths of a second."""
AT_MOST = 5.0
"""Seconds after which it ends on a machine that is very busy, or with a device that does all the work."""
BUSY = 0.15
"""A thread that worked for this share of the busiest one's time counts. Threads that share products of this
size use 70 % of it and more; one that makes batches, or sleeps until a step is over, a few percent."""
SAMPLES = 1024

MODEL = ModelSpec(
    "wide",
    (1, 16, 16),
    (Flatten(), Linear(out_features=512), ReLU(), Linear(out_features=512), ReLU(), Linear(out_features=5)),
)


def test_one_thread_is_one_thread(backend: Backend) -> None:
    """In a process of its own that asks for one thread, matrix products keep one processor busy.

    Where the system tells what each thread has used, the threads that worked are counted, which does not hang
    on what else the machine does. A backend may run several where it holds them all to one processor, as it
    must under MindSpore. One that can't limit its threads refuses with `UnsupportedError`; so does one whose
    extra for it is not installed.
    """
    try:
        used = isolated(processors_in_use, backend.name, backend.device)
    except MissingError as missing:
        raise UnsupportedError(str(missing)) from missing
    assert used == 1, f"asked for one thread, it keeps {used} processors busy"


def processors_in_use(name: str, device: str) -> int:
    """How many a backend with one thread uses for its steps. To be called in a process of its own."""
    backend = plugins.load(name, device, threads=1)
    os.environ.update(backend.environment(MODEL, 1))
    parts, native = build(backend, MODEL), batch(backend, split(MODEL, SAMPLES))
    step = step_input(MODEL, sizes=(SAMPLES,))

    def work(seconds: float) -> None:
        parts.loop.read([parts.loop.train_step([native], step)])
        until, latest = time.process_time() + seconds, time.perf_counter() + AT_MOST
        while time.process_time() < until and time.perf_counter() < latest:
            parts.loop.read([parts.loop.train_step([native], step)])

    work(0.0)  # one step, which may compile with as many threads as it likes
    before, begin = seconds_by_thread(), (time.process_time(), time.perf_counter())
    work(SECONDS)
    if not before:  # another system than Linux: a busy machine makes the quotient smaller, never larger
        return round((time.process_time() - begin[0]) / (time.perf_counter() - begin[1])) or 1
    worked = [seconds - before.get(thread, 0.0) for thread, seconds in seconds_by_thread().items()]
    busy = sum(seconds >= BUSY * max(worked) for seconds in worked)
    return min(busy, len(os.sched_getaffinity(0)))


def seconds_by_thread() -> dict[str, float]:
    """Processor time of each thread of this process so far; empty where the system does not tell."""
    found = {}
    for task in Path("/proc/self/task").glob("*"):
        try:
            text = (task / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:  # it has just ended
            continue
        # The 14th and 15th field, counted from the end of the thread's name, which may have spaces.
        user, system = text.rpartition(")")[2].split()[11:13]
        found[task.name] = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return found
