"""The one training loop: epochs, evaluation, checkpoints, observers. A step is a backend's."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xtrain import plan
from xtrain.checkpoint import Checkpoint
from xtrain.errors import NonFiniteError
from xtrain.observers import EpochRecord, Observer, TrainRecord
from xtrain.progress import Progress, Sums
from xtrain.protocols import Dataset, Handle, Loop, Model, Optimizer
from xtrain.recipe import Recipe
from xtrain.spec import Draws, Metrics, StepInput

_REMEDY = "checkpoints written before are kept; a smaller optimizer.lr is the usual cure"


@dataclass(frozen=True)
class Parts:
    """What a backend built for one run."""

    train: Dataset
    test: Dataset
    model: Model
    optimizer: Optimizer
    loop: Loop


class Trainer:
    """Walks the plan from where `progress` stands.

    Args:
        recipe: what to do.
        parts: what to do it with; model and optimizer already hold the state that `progress` stands at.
        progress: how far the run has come.
        observers: who watches.
        save: keeps a checkpoint; the second argument says whether it is the best so far.
        stopping: asked after each step; once it says yes the state is saved and `run` returns.

    """

    def __init__(
        self,
        recipe: Recipe,
        parts: Parts,
        progress: Progress,
        observers: Sequence[Observer],
        save: Callable[[Checkpoint, bool], None],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._recipe, self._parts, self.progress = recipe, parts, progress
        self._observers, self._save_checkpoint, self._stopping = observers, save, stopping
        self._pending: list[tuple[int, Handle]] = []

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has."""
        data = self._recipe.data
        return plan.batches_per_epoch(len(self._parts.train), data.batch_size, data.drop_last)

    def run(self) -> bool:
        """Train to the end of the recipe; False where it was stopped before."""
        while self.progress.epoch < self._recipe.loop.epochs:
            self._train_epoch()
            if self._stopping():
                self._save()
                return False
            self._finish_epoch()
        return True

    def _train_epoch(self) -> None:
        progress, per_epoch = self.progress, self.steps_per_epoch
        started = time.perf_counter() - progress.train_seconds
        for batch in self._parts.train.batches(self._draws()):
            self._step(batch)
            progress.train_seconds = time.perf_counter() - started
            if progress.step % self._recipe.loop.log_every == 0:
                self._log()
            ends = progress.batch == per_epoch
            if not ends and self._recipe.loop.checkpoint_due(progress.step, progress.epoch + 1, ends):
                self._save()
            if self._stopping():
                break
        self._read()
        progress.train_seconds = time.perf_counter() - started

    def _draws(self) -> Draws:
        recipe, progress = self._recipe, self.progress
        return plan.train_draws(
            recipe.seed,
            progress.epoch + 1,
            len(self._parts.train),
            recipe.data.batch_size,
            drop_last=recipe.data.drop_last,
            augment=recipe.data.augment,
            skip=progress.batch,
        )

    def _step(self, batch: Any) -> None:
        recipe, progress = self._recipe, self.progress
        progress.step += 1
        progress.batch += 1
        keys = plan.dropout_keys(recipe.seed, progress.step, recipe.model_spec)
        step = StepInput(progress.step, recipe.lr(progress.epoch + 1), keys)
        self._pending.append((progress.step, self._parts.loop.train_step([batch], step)))
        for observer in self._observers:
            observer.step(progress.step, recipe.data.batch_size)

    def _finish_epoch(self) -> None:
        recipe, progress = self._recipe, self.progress
        sums, seconds = evaluate(self._parts.loop, self._parts.test, recipe.data.eval_batch_size)
        if not np.isfinite(sums.loss_sum):
            raise NonFiniteError(f"the test loss after step {progress.step} is {sums.loss}", remedy=_REMEDY)
        trained = progress.epoch_sums
        progress.epoch += 1
        record = EpochRecord(
            progress.epoch,
            progress.step,
            trained.loss,
            trained.accuracy,
            sums.loss,
            sums.accuracy,
            progress.train_seconds,
            seconds,
        )
        progress.batch, progress.epoch_sums, progress.train_seconds = 0, Sums(), 0.0
        best = progress.best_accuracy is None or sums.accuracy > progress.best_accuracy
        if best:
            progress.best_accuracy, progress.best_step = sums.accuracy, progress.step
        for observer in self._observers:
            observer.epoch(record)
        ends = progress.epoch == recipe.loop.epochs
        if ends or best or recipe.loop.checkpoint_due(progress.step, progress.epoch, epoch_ends=True):
            self._save(best)

    def _log(self) -> None:
        """Read what is pending and tell the observers; sums start anew."""
        self._read()
        progress, epoch = self.progress, self.progress.epoch + 1
        record = TrainRecord(epoch, progress.step, progress.log_sums.loss, self._recipe.lr(epoch))
        progress.log_sums = Sums()
        for observer in self._observers:
            observer.train(record)

    def _read(self) -> None:
        """Wait for the pending steps and add up their figures; one that is not finite ends the run."""
        metrics = self._parts.loop.read([handle for _, handle in self._pending])
        for (step, _), figures in zip(self._pending, metrics, strict=True):
            if not np.isfinite(figures.loss_sum):
                raise NonFiniteError(
                    f"the loss of step {step} is {figures.loss_sum / figures.weight}", remedy=_REMEDY
                )
            self.progress.epoch_sums.add(figures)
            self.progress.log_sums.add(figures)
        self._pending.clear()

    def _save(self, best: bool = False) -> None:
        self._read()
        model = self._parts.model.state()
        for name, tensor in model.items():
            if not np.isfinite(tensor).all():
                raise NonFiniteError(f"{name} is not finite after step {self.progress.step}", remedy=_REMEDY)
        self._save_checkpoint(Checkpoint(model, self._parts.optimizer.state(), self.progress), best)


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
