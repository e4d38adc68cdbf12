"""The one training loop: epochs, evaluation, stopping, checkpoints, observers. A step is a backend's."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from xtrain import plan
from xtrain.errors import NonFiniteError
from xtrain.protocols import Batch, Dataset, Handle, Loop, Model, Optimizer
from xtrain.recipe import Recipe
from xtrain.recipe.schedules import Clock, Plateau
from xtrain.recipe.watch import mode_of
from xtrain.runs.checkpoint import Checkpoint, averaged
from xtrain.runs.progress import Progress, Sums
from xtrain.spec import Metrics, State
from xtrain.training.observers import EpochRecord, Observer, TrainRecord

_REMEDY = "checkpoints written before are kept; a smaller optimizer.lr is the usual cure"

T = TypeVar("T")


@dataclass(frozen=True)
class Parts:
    """What a backend built for one run."""

    train: Dataset
    test: Dataset
    model: Model
    optimizer: Optimizer
    loop: Loop
    validation: Dataset | None = None


@dataclass(frozen=True)
class Store:
    """Where checkpoints go; the second argument of `save` says whether it is the best so far."""

    save: Callable[[Checkpoint, bool], None]
    load_best: Callable[[], Checkpoint]


class Trainer:
    """Walks the plan from where `progress` stands.

    Args:
        recipe: what to do.
        parts: what to do it with; model and optimizer already hold the state that `progress` stands at.
        progress: how far the run has come.
        observers: who watches.
        store: keeps checkpoints.
        stopping: asked after each step; once it says yes the state is saved and `run` returns.

    """

    def __init__(
        self,
        recipe: Recipe,
        parts: Parts,
        progress: Progress,
        observers: Sequence[Observer],
        store: Store,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._recipe, self._parts, self.progress = recipe, parts, progress
        self._observers, self._store, self._stopping = observers, store, stopping
        self._pending: list[tuple[int, Handle]] = []
        data = recipe.data
        self._batches_per_epoch = plan.batches_per_epoch(len(parts.train), data.batch_size, data.drop_last)

    @property
    def steps_per_epoch(self) -> int:
        """How many updates an epoch has."""
        return self._recipe.steps_per_epoch(len(self._parts.train))

    def run(self) -> bool:
        """Train to the end of the recipe; False where it was stopped before."""
        while not self._over():
            self.progress.restored = False
            self._train_epoch()
            if self._stopping():
                self._save()
                return False
            self._finish_epoch()
        if self._recipe.stopping and self._recipe.stopping.restore_best and not self.progress.restored:
            self._restore_best()
        return True

    def _over(self) -> bool:
        stopping = self._recipe.stopping
        stopped = stopping is not None and stopping.over(self.progress.stopping)
        return stopped or self.progress.epoch >= self._recipe.loop.epochs

    def _train_epoch(self) -> None:
        progress, loop = self.progress, self._recipe.loop
        started = time.perf_counter() - progress.train_seconds
        draws = self._recipe.draws(len(self._parts.train), progress.epoch + 1, progress.batch)
        for batches in in_groups(self._parts.train.batches(draws), loop.accumulate):
            self._step(batches)
            progress.train_seconds = time.perf_counter() - started
            if progress.step % loop.log_every == 0:
                self._log()
            ends = progress.batch == self._batches_per_epoch
            if not ends and loop.checkpoint_due(progress.step, progress.epoch + 1, ends):
                self._save()
            if self._stopping():
                break
        self._read()
        progress.train_seconds = time.perf_counter() - started

    def _clock(self) -> Clock:
        """The step under way, which `progress` has counted."""
        progress = self.progress
        epochs, per_epoch = self._recipe.loop.epochs, self.steps_per_epoch
        return Clock(progress.epoch + 1, progress.step, per_epoch, epochs, progress.plateau.made)

    def _step(self, batches: Sequence[Batch]) -> None:
        recipe, progress = self._recipe, self.progress
        progress.step += 1
        progress.batch += len(batches)
        step = recipe.step_input(self._clock())
        self._pending.append((progress.step, self._parts.loop.train_step(batches, step)))
        for observer in self._observers:
            observer.step(progress.step, recipe.data.batch_size * len(batches))

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
        progress, parts, size = self.progress, self._parts, self._recipe.data.eval_batch_size
        trained = progress.epoch_sums
        with self._averaged():
            test, test_seconds = evaluate(parts.loop, parts.test, size)
            val, val_seconds = None, None
            if parts.validation:
                val, val_seconds = evaluate(parts.loop, parts.validation, size)
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
        assert recipe.loop.monitor is not None  # a recipe's defaults are explicit
        best = progress.best.see(figures[recipe.loop.monitor], mode_of(recipe.loop.monitor))
        if best:
            progress.best_step = progress.step
        if recipe.stopping:
            recipe.stopping.see(progress.stopping, figures)
        if isinstance(recipe.schedule, Plateau):
            recipe.schedule.see(progress.plateau, figures)
        return best

    def _restore_best(self) -> None:
        best = self._store.load_best()
        self._parts.model.load(best.model)
        self._parts.optimizer.load(best.optimizer)
        self.progress.restored = True
        self._save()

    def _log(self) -> None:
        """Read what is pending and tell the observers; sums start anew."""
        self._read()
        progress = self.progress
        lr = self._recipe.lr(self._clock())
        record = TrainRecord(progress.epoch + 1, progress.step, progress.log_sums.loss, lr)
        progress.log_sums = Sums()
        for observer in self._observers:
            observer.train(record)

    def _read(self) -> None:
        """Wait for the pending steps and add up their figures; one that is not finite ends the run."""
        metrics = self._parts.loop.read([handle for _, handle in self._pending])
        for (step, _), figures in zip(self._pending, metrics, strict=True):
            if not np.isfinite(figures.loss_sum):
                loss = figures.loss_sum / figures.weight if figures.weight else np.nan
                raise NonFiniteError(f"the loss of step {step} is {loss}", remedy=_REMEDY)
            self.progress.epoch_sums.add(figures)
            self.progress.log_sums.add(figures)
        self._pending.clear()

    def _save(self, best: bool = False) -> None:
        self._read()
        model: State = self._parts.model.state()
        for name, tensor in model.items():
            if not np.isfinite(tensor).all():
                raise NonFiniteError(f"{name} is not finite after step {self.progress.step}", remedy=_REMEDY)
        self._store.save(Checkpoint(model, self._parts.optimizer.state(), self.progress), best)


def evaluate(loop: Loop, dataset: Dataset, batch_size: int) -> tuple[Sums, float]:
    """Loss and accuracy over a whole split, and the seconds it took."""
    started = time.perf_counter()
    handles = [loop.eval_step(batch) for batch in dataset.batches(plan.eval_draws(len(dataset), batch_size))]
    sums = add_up(loop.read(handles))
    return sums, time.perf_counter() - started


def add_up(metrics: Iterable[Metrics]) -> Sums:
    """The sums of several steps."""
    sums = Sums()
    for figures in metrics:
        sums.add(figures)
    return sums


def in_groups(items: Iterator[T], size: int) -> Iterator[list[T]]:
    """`size` items at a time, at the end what is left."""
    while group := list(islice(items, size)):
        yield group
