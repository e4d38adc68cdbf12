"""The one training loop: epochs, evaluation, stopping, checkpoints, observers. A step is a backend's."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from xtrain import plan
from xtrain.errors import NonFiniteError
from xtrain.protocols import Batch, Handle, Loop
from xtrain.recipe import Job
from xtrain.recipe.schedules import Clock
from xtrain.recipe.watch import mode_of
from xtrain.runs.checkpoint import Checkpoint, averaged
from xtrain.runs.progress import Progress, Sums
from xtrain.spec import Draws, State
from xtrain.spec.parts import OwnCode
from xtrain.training.assembly import Parts, Source, lowered
from xtrain.training.distributed import Ranks
from xtrain.training.observers import EpochRecord, Observer, TrainRecord

_REMEDY = "checkpoints written before are kept; a smaller optimizer.lr is the usual cure"

T = TypeVar("T")


@dataclass(frozen=True)
class Store:
    """Where checkpoints go; the second argument of `save` says whether it is the best so far.

    `load_best` gives the one that `Progress.best_step` names.
    """

    save: Callable[[Checkpoint, bool], None]
    load_best: Callable[[Progress], Checkpoint]


@dataclass(frozen=True)
class Pending:
    """A step whose figures are still on the device: how many samples it had, what they weigh together."""

    step: int
    handle: Handle
    count: int
    weight: float


class Trainer:
    """Walks the plan from where `progress` stands.

    Args:
        job: what to do.
        parts: what to do it with; model and optimizer already hold the state that `progress` stands at.
        progress: how far the run has come.
        observers: who watches.
        store: keeps checkpoints.
        stopping: asked after each step; once it says yes the state is saved and `run` returns.
        ranks: the processes that train together.

    """

    def __init__(
        self,
        job: Job,
        parts: Parts,
        progress: Progress,
        observers: Sequence[Observer],
        store: Store,
        stopping: Callable[[], bool] = lambda: False,
        ranks: Ranks | None = None,
    ) -> None:
        self._job, self._recipe, self._parts, self.progress = job, job.recipe, parts, progress
        self._observers, self._store, self._asked = observers, store, stopping
        self._ranks = ranks or Ranks()
        self._pending: list[Pending] = []
        self._stopped = False
        self._lowered = lowered(job)

    def run(self) -> bool:
        """Train to the end of the recipe; False where it was stopped before."""
        while not self._over():
            self.progress.restored = False
            self._train_epoch()
            if self._stopped:
                self._save()
                return False
            self._finish_epoch()
        if self._recipe.stopping and self._recipe.stopping.restore_best and not self.progress.restored:
            self._restore_best()
        return True

    def _over(self) -> bool:
        return self._job.is_over(self.progress.epoch, self.progress.stopping)

    def _train_epoch(self) -> None:
        progress, loop = self.progress, self._recipe.loop
        started = time.perf_counter() - progress.train_seconds
        draws, train = self._job.draws(progress.epoch + 1, progress.batch), self._parts.train
        labels = (train.labels[indices] for indices in draws.batches)
        batches = train.dataset.batches(self._job.own(draws, self._ranks.place))
        for group in in_groups(zip(batches, labels, strict=True), loop.accumulate):
            self._step([batch for batch, _ in group], [labels for _, labels in group])
            progress.train_seconds = time.perf_counter() - started
            ends = progress.batch == self._job.batches_per_epoch
            if ends or progress.step % loop.log_every == 0:
                self._log()
            if not ends and loop.checkpoint_due(progress.step, progress.epoch + 1, ends):
                self._save()
            self._stopped = self._ranks.stopping(self._asked())
            if self._stopped:
                break
        self._read()
        progress.train_seconds = time.perf_counter() - started

    def _clock(self) -> Clock:
        """The step under way, which `progress` has counted."""
        return self._job.clock(self.progress.step, self.progress.plateau.made)

    def _step(self, batches: Sequence[Batch], labels: Sequence[NDArray[np.int64]]) -> None:
        progress = self.progress
        progress.step += 1
        progress.batch += len(batches)
        step_input = self._job.step_input(self._clock(), labels, self._ranks.place)
        with self._lowered:
            handle = self._parts.loop.train_step(batches, step_input)
        count, weight = sum(map(len, labels)), sum(map(self._job.weight, labels))
        self._pending.append(Pending(progress.step, handle, count, weight))
        for observer in self._observers:
            observer.step(progress.step, count)

    def _finish_epoch(self) -> None:
        progress, loop = self.progress, self._recipe.loop
        record = self._evaluate()
        progress.epoch += 1
        progress.batch, progress.epoch_sums, progress.train_seconds = 0, Sums(), 0.0
        best = self._watch(record.figures)
        for observer in self._observers:
            observer.epoch(record)
        if self._over() or best or loop.checkpoint_due(progress.step, progress.epoch, epoch_ends=True):
            self._save(best)

    def _evaluate(self) -> EpochRecord:
        """The figures of the epoch that ends, with the averaged weights where there are such."""
        progress, parts, job = self.progress, self._parts, self._job
        trained = progress.epoch_sums
        with self._averaged():
            test, test_seconds = evaluate(job, parts.loop, parts.test, self._ranks)
            val, val_seconds = None, None
            if parts.validation:
                val, val_seconds = evaluate(job, parts.loop, parts.validation, self._ranks)
        for name, sums in (("test", test), ("validation", val)):
            if sums and not np.isfinite(sums.loss_sum):
                raise NonFiniteError(
                    f"the {name} loss after step {progress.step} is {sums.loss}", remedy=_REMEDY
                )
        return EpochRecord(
            epoch=progress.epoch + 1,
            step=progress.step,
            train_loss=trained.loss,
            train_accuracy=trained.accuracy,
            test_loss=test.loss,
            test_accuracy=test.accuracy,
            train_seconds=progress.train_seconds,
            test_seconds=test_seconds,
            val_loss=val.loss if val else None,
            val_accuracy=val.accuracy if val else None,
            val_seconds=val_seconds,
        )

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        if self._recipe.optimizer.ema is None:
            yield
            return
        model = self._parts.model
        weights = model.state()
        model.load(averaged(weights, self._parts.optimizer.state()))
        try:
            yield
        finally:
            model.load(weights)

    def _watch(self, figures: dict[str, float]) -> bool:
        """Let best, early stopping and plateau see an epoch's figures; True where it is the best."""
        recipe, progress = self._recipe, self.progress
        best = progress.best.update(figures[self._job.monitor], mode_of(self._job.monitor))
        if best:
            progress.best_step = progress.step
        if recipe.stopping:
            recipe.stopping.update(progress.stopping, figures)
        with OwnCode("whose update() fails", recipe.schedule):
            recipe.schedule.update(progress.plateau, figures)
        return best

    def _restore_best(self) -> None:
        best = self._store.load_best(self.progress)
        self._parts.model.load(best.model)
        self._parts.optimizer.load(best.optimizer)
        self.progress.restored = True
        self._save()

    def _log(self) -> None:
        """Read what is pending and tell the observers; sums start anew."""
        self._read()
        progress = self.progress
        lr = self._job.lr(self._clock())
        record = TrainRecord(progress.epoch + 1, progress.step, progress.log_sums.loss, lr)
        progress.log_sums = Sums()
        for observer in self._observers:
            observer.train(record)

    def _read(self) -> None:
        """Wait for the pending steps and add up their figures; one that is not finite ends the run."""
        with self._lowered:
            metrics = self._ranks.added(self._parts.loop.read([each.handle for each in self._pending]))
        for pending, figures in zip(self._pending, metrics, strict=True):
            if not np.isfinite(figures.loss_sum):
                loss = figures.loss_sum / pending.weight if pending.weight else np.nan
                raise NonFiniteError(f"the loss of step {pending.step} is {loss}", remedy=_REMEDY)
            self.progress.epoch_sums.add(figures, pending.count, pending.weight)
            self.progress.log_sums.add(figures, pending.count, pending.weight)
        self._pending.clear()

    def _save(self, best: bool = False) -> None:
        self._read()
        model: State = self._parts.model.state()
        for name, tensor in model.items():
            if not np.isfinite(tensor).all():
                raise NonFiniteError(f"{name} is not finite after step {self.progress.step}", remedy=_REMEDY)
        self._ranks.check_same(model, self.progress.step)
        self._store.save(Checkpoint(model, self._parts.optimizer.state(), self.progress), best)


def evaluate(job: Job, loop: Loop, source: Source, ranks: Ranks | None = None) -> tuple[Sums, float]:
    """Loss and accuracy over a whole split, its batches shared out over processes; the seconds it took."""
    started, sums, ranks = time.perf_counter(), Sums(), ranks or Ranks()
    draws = plan.eval_draws(len(source.labels), job.recipe.data.eval_batch_size)
    own = Draws(tuple(ranks.mine(draws.batches)))
    with lowered(job):
        metrics = loop.read([loop.eval_step(batch) for batch in source.dataset.batches(own)])
    metrics = ranks.merged(metrics, len(draws.batches))
    for figures, indices in zip(metrics, draws.batches, strict=True):
        sums.add(figures, len(indices), job.weight(source.labels[indices]))
    return sums, time.perf_counter() - started


def in_groups(items: Iterator[T], size: int) -> Iterator[list[T]]:
    """`size` items at a time, at the end what is left."""
    while group := list(islice(items, size)):
        yield group
