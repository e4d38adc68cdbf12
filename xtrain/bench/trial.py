"""One trial: a backend trains some steps of a recipe in this process, as `xtrain run` would."""

import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from xtrain.protocols import Batch, Dataset, Handle, Loop
from xtrain.recipe import Job
from xtrain.runs.checkpoint import Checkpoint
from xtrain.runs.progress import Progress
from xtrain.spec import Draws, Metrics, StepInput
from xtrain.training import assembly
from xtrain.training.assembly import Options, Parts, Source
from xtrain.training.trainer import Store, Trainer, evaluate

WARM_UP = 20
"""Steps before those that are timed; the hand-written loops leave out as many."""
_REPEATED = 20  # steps on a few samples
_FEW = 2  # samples: a step on them is nearly all overhead, and batch norm can have no fewer


@dataclass(frozen=True)
class Limit:
    """How long a trial trains: so many steps (an epoch at most), or so many seconds if that is less."""

    steps: int = 200
    seconds: float = 30.0


@dataclass(frozen=True)
class Trial:
    """What one process measured; None is what it did not.

    Args:
        steps: that were timed.
        samples: in each.
        seconds: they took, from asking for the first batch to reading the last figures.
        input: of these, seconds of waiting for batches.
        dispatch: the seconds that as many steps take with next to no samples: calls, and the update.
        compute: what the samples add to that.
        read: moving figures off the device.
        first_step: seconds, compiling included.
        start_up: seconds from the start of the process to the first step's figures.
        evaluation: images in a second.
        peak_memory: bytes, the most that was resident while it trained.
        version: of the framework.

    """

    steps: int
    samples: int
    seconds: float
    input: float | None = None
    dispatch: float | None = None
    compute: float | None = None
    read: float | None = None
    first_step: float | None = None
    start_up: float | None = None
    evaluation: float | None = None
    peak_memory: int | None = None
    version: str | None = None

    @property
    def rate(self) -> float:
        """Images in a second."""
        return self.steps * self.samples / self.seconds

    @property
    def step(self) -> float:
        """Seconds of one."""
        return self.seconds / self.steps


def measure(job: Job, options: Options, limit: Limit, started: float) -> Trial:
    """Open the backend in this process and time it.

    Args:
        job: what is trained; its data is loaded as for a run.
        options: backend, device, threads.
        limit: how long.
        started: `time.time()` before this process was.

    """
    recipe = job.recipe
    backend = assembly.open_backend(options, job.model, recipe.loop.precision)
    arrays = assembly.load_data(job, options.data_dir)
    bench = _Bench(job, assembly.build(backend, job, arrays, assembly.initial_state(job)))
    first = bench.train(Limit(steps=1))
    start_up = time.time() - started
    bench.train(Limit(WARM_UP, limit.seconds))
    timed = bench.train(limit)
    memory = _peak_memory()
    dispatch, read = bench.dispatch(timed.steps), bench.read(timed)
    return Trial(
        steps=timed.steps,
        samples=recipe.data.batch_size * recipe.loop.accumulate,
        seconds=timed.seconds,
        input=timed.spent["input"],
        dispatch=dispatch,
        compute=max(0.0, timed.spent["step"] + timed.spent["read"] - dispatch - read),
        read=read,
        first_step=first.seconds,
        start_up=start_up,
        evaluation=bench.evaluate(),
        peak_memory=memory,
        version=backend.probe().version,
    )


class Stopwatch:
    """Seconds by what they were spent on, of one stretch of training."""

    def __init__(self, limit: Limit) -> None:
        self._limit, self._started = limit, time.perf_counter()
        self.spent: dict[str, float] = defaultdict(float)
        self.steps, self.seconds = 0, 0.0
        self.last_read: Sequence[Handle] = ()

    @contextmanager
    def spending(self, on: str) -> Iterator[None]:
        """Count what happens inside; the stretch goes to the end of the last of these."""
        before = time.perf_counter()
        yield
        now = time.perf_counter()
        self.spent[on] += now - before
        self.seconds = now - self._started

    def over(self) -> bool:
        """True once the limit is reached."""
        late = time.perf_counter() - self._started > self._limit.seconds
        return self.steps >= self._limit.steps or late


class _Bench:
    """The parts of a run, with a stopwatch at their doors."""

    def __init__(self, job: Job, parts: Parts) -> None:
        self._job, self._parts = job, parts

    def train(self, limit: Limit) -> Stopwatch:
        """The trainer itself, from the first batch of the first epoch on; never beyond that epoch."""
        watch = Stopwatch(replace(limit, steps=min(limit.steps, self._job.steps_per_epoch)))
        given, loop = self._parts.train, _TimedLoop(self._parts.loop, watch)
        train = Source(_TimedDataset(given.dataset, watch), given.labels)
        parts = replace(self._parts, train=train, loop=loop)
        Trainer(self._job, parts, Progress(), (), _NOWHERE, watch.over).run()
        return watch

    def dispatch(self, steps: int) -> float:
        """Seconds of so many steps on a few samples."""
        job, loop, train = self._job, self._parts.loop, self._parts.train
        draws = job.draws(epoch=1)
        few = replace(draws, batches=(draws.batches[0][:_FEW],) * job.recipe.loop.accumulate)
        batches = list(train.dataset.batches(few))
        step = job.step_input(job.clock(1), [train.labels[indices] for indices in few.batches])
        loop.read([loop.train_step(batches, step)])  # a batch size not seen before may compile
        before = time.perf_counter()
        loop.read([loop.train_step(batches, step) for _ in range(_REPEATED)])
        return (time.perf_counter() - before) / _REPEATED * steps

    def read(self, watch: Stopwatch) -> float:
        """Seconds of reading its figures, the last ones once more, when there is nothing left to wait for."""
        before = time.perf_counter()
        self._parts.loop.read(watch.last_read)
        return (time.perf_counter() - before) / len(watch.last_read) * watch.steps

    def evaluate(self) -> float:
        """Images of the test split in a second, the second time over."""
        test, loop = self._parts.test, self._parts.loop
        seconds = [evaluate(self._job, loop, test)[1] for _ in range(2)]
        return len(test.labels) / seconds[-1]


class _TimedDataset:
    """A data set whose batches are waited for with a stopwatch."""

    def __init__(self, dataset: Dataset, watch: Stopwatch) -> None:
        self._dataset, self._watch = dataset, watch
        self.read = dataset.read

    def __len__(self) -> int:
        return len(self._dataset)

    def batches(self, draws: Draws) -> Iterator[Batch]:
        batches = self._dataset.batches(draws)
        while True:
            with self._watch.spending("input"):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


class _TimedLoop:
    """A loop whose steps and reads are timed."""

    def __init__(self, loop: Loop, watch: Stopwatch) -> None:
        self._loop, self._watch = loop, watch
        self.eval_step, self.gradients = loop.eval_step, loop.gradients

    def train_step(self, batches: Sequence[Batch], step: StepInput) -> Handle:
        with self._watch.spending("step"):
            handle = self._loop.train_step(batches, step)
        self._watch.steps += 1
        return handle

    def read(self, handles: Sequence[Handle]) -> list[Metrics]:
        if handles:
            self._watch.last_read = handles[:]  # none before: what is kept of a step takes its memory's place
        with self._watch.spending("read"):
            return self._loop.read(handles)


_NOWHERE = Store(lambda checkpoint, best: None, lambda progress: Checkpoint({}, {}, progress))


def _peak_memory() -> int | None:
    """Bytes that were resident at most, where the system says so."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
