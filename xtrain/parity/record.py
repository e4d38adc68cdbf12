"""Records what a backend makes of a recipe, level by level, and once more with its weights nudged."""

import hashlib
import platform
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from xtrain import data, plan, session
from xtrain.checkpoint import Checkpoint
from xtrain.noise import nudged
from xtrain.observers import EpochRecord, Observer, TrainRecord
from xtrain.parity import probe
from xtrain.parity.trace import UNITS, Ask, Trace, save
from xtrain.progress import Progress
from xtrain.protocols import Backend, Batch
from xtrain.recipe import Recipe
from xtrain.schedules import Clock
from xtrain.session import Options
from xtrain.spec import State, StepInput
from xtrain.trainer import Store, Trainer


def record(recipe: Recipe, options: Options, ask: Ask, folder: Path) -> None:
    """Open the backend in this process and write its trace to `folder`."""
    backend = session.open_backend(options, recipe.model_spec)
    arrays = data.load(recipe.data, options.data_dir)
    save(trace(backend, recipe, arrays, ask, options.threads), folder)


def trace(
    backend: Backend, recipe: Recipe, arrays: data.Arrays, ask: Ask, threads: int | None = None
) -> Trace:
    """What `backend` makes of `recipe`, for the levels asked for."""
    bench, draws = Bench(backend, recipe, arrays), range(len(UNITS))
    steps = min(ask.steps or bench.steps_per_epoch, bench.steps)
    seeds = range(ask.seeds) if "P6" in ask.levels else ()
    return Trace(
        facts=_facts(backend, recipe, ask, steps, threads),
        terms=dict(backend.explain(recipe.model_spec, recipe.loss, recipe.optimizer)),
        batches=list(islice(bench.hashes(), steps)) if "P1" in ask.levels else [],
        tensors={
            level: [measure(bench, draw) for draw in draws]
            for level, measure in _TENSORS.items()
            if level in ask.levels
        },
        losses=[bench.losses(draw, steps) for draw in draws] if "P5" in ask.levels else [],
        outcomes=[outcome(backend, recipe, arrays, seed) for seed in seeds],
    )


class Bench:
    """The parts of one backend, set back before each measurement."""

    def __init__(self, backend: Backend, recipe: Recipe, arrays: data.Arrays) -> None:
        self.recipe, self.spec = recipe, recipe.model_spec
        self._initial = session.initial_state(recipe)
        self._parts = session.build(backend, recipe, arrays, self._initial)
        self._blank = self._parts.optimizer.state()
        self.steps_per_epoch = Trainer(recipe, self._parts, Progress(), (), _Memory().store).steps_per_epoch

    @property
    def steps(self) -> int:
        """Of the whole recipe."""
        return self.steps_per_epoch * self.recipe.loop.epochs

    def step(self, number: int) -> StepInput:
        """What the trainer hands over at a step."""
        epoch = (number - 1) // self.steps_per_epoch + 1
        clock = Clock(epoch, number, self.steps_per_epoch, self.recipe.loop.epochs)
        keys = plan.dropout_keys(self.recipe.seed, number, self.spec)
        return StepInput(number, self.recipe.lr(clock), keys, self.recipe.momentum(clock))

    def hashes(self) -> Iterator[str]:
        """P1: of each step's images and labels, as the device has them."""
        for epoch in range(1, self.recipe.loop.epochs + 1):
            for batch in self._batches(epoch):
                images, labels = self._parts.train.read(batch)
                digest = hashlib.sha256(np.ascontiguousarray(images).tobytes())
                digest.update(np.ascontiguousarray(labels).tobytes())
                yield digest.hexdigest()

    def forward(self, draw: int) -> State:
        """P2: every layer's output, the loss, and the buffers after, in training and in evaluation."""
        batch, step, state = self._probe_batch(), self.step(1), self._probe_state(draw)
        images, _ = self._parts.train.read(batch)
        model, loop = self._parts.model, self._parts.loop
        found: State = {}
        for mode, given in (("train", step), ("eval", None)):
            self._reset(state)
            found |= {f"{mode}/{path}": value for path, value in model.trace(images, given).items()}
            if given:
                found |= {f"buffers/{name}": model.state()[name] for name in self._buffers()}
        self._reset(state)
        handles = [loop.eval_step(batch), loop.train_step([batch], step)]
        for mode, metrics in zip(("eval", "train"), loop.read(handles), strict=True):
            found[f"{mode}/loss"] = np.array([metrics.loss_sum / metrics.weight])
        return probe.thinned(found)

    def gradients(self, draw: int) -> State:
        """P3: of the mean loss by every parameter."""
        self._reset(self._probe_state(draw))
        return probe.thinned(self._parts.loop.gradients(self._probe_batch(), self.step(1)))

    def updates(self, draw: int) -> State:
        """P4: weights and moments after some of a hundred steps on fed gradients."""
        self._reset(self._probe_state(draw))
        optimizer, model = self._parts.optimizer, self._parts.model
        found: State = {}
        fed = probe.Gradients(self.recipe.seed, self.spec)
        for number in range(1, probe.UPDATES[-1] + 1):
            gradients = _rounded(nudged(fed.at(number), draw, UNITS[draw]))
            optimizer.step(gradients, self.step(number))
            if number in probe.UPDATES:
                state = model.state()
                found |= {f"step {number}/{name}": state[name] for name in self.spec.trainable}
                found |= {f"step {number}/{name}": value for name, value in optimizer.state().items()}
        return probe.thinned(found)

    def losses(self, draw: int, steps: int) -> list[float]:
        """P5: of every step, as the trainer goes: schedule, accumulation and evaluation are its own."""
        self._reset(_rounded(nudged(self._initial, draw, UNITS[draw])))
        watcher, progress = _Watcher(), Progress()
        loop = replace(self.recipe.loop, log_every=1, checkpoint_every=steps + 1)
        recipe = replace(self.recipe, loop=loop)
        over = lambda: progress.step >= steps  # noqa: E731
        Trainer(recipe, self._parts, progress, [watcher], _Memory().store, over).run()
        return watcher.losses[:steps]

    def _batches(self, epoch: int, samples: int | None = None) -> Iterator[Batch]:
        """Of an epoch, as the trainer asks for them; or only the first, with so many samples."""
        section, train = self.recipe.data, self._parts.train
        draws = plan.train_draws(
            self.recipe.seed,
            epoch,
            len(train),
            section.batch_size,
            drop_last=section.drop_last,
            augment=section.augment,
        )
        return train.batches(replace(draws, batches=(draws.batches[0][:samples],)) if samples else draws)

    def _probe_batch(self) -> Batch:
        return next(self._batches(1, probe.SAMPLES))

    def _probe_state(self, draw: int) -> State:
        return _rounded(nudged(probe.state(self.recipe.seed, self._initial), draw, UNITS[draw]))

    def _reset(self, state: State) -> None:
        self._parts.model.load(state)
        self._parts.optimizer.load(self._blank)

    def _buffers(self) -> list[str]:
        return [name for name in self.spec.tensors if name not in self.spec.trainable]


_TENSORS = {"P2": Bench.forward, "P3": Bench.gradients, "P4": Bench.updates}


def outcome(backend: Backend, recipe: Recipe, arrays: data.Arrays, seed: int) -> float:
    """P6: test accuracy at the end of the whole recipe, from another seed."""
    recipe = replace(recipe, seed=recipe.seed + seed)
    parts = session.build(backend, recipe, arrays, session.initial_state(recipe))
    watcher = _Watcher()
    Trainer(recipe, parts, Progress(), [watcher], _Memory().store).run()
    return watcher.accuracies[-1]


def _rounded(state: State) -> State:
    """As a float32 backend stores it: all backends start from the same numbers."""
    return {
        name: value.astype(np.float32) if np.issubdtype(value.dtype, np.floating) else value
        for name, value in state.items()
    }


class _Watcher(Observer):
    """Keeps losses and accuracies."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.accuracies: list[float] = []

    def train(self, record: TrainRecord) -> None:
        self.losses.append(record.loss)

    def epoch(self, record: EpochRecord) -> None:
        self.accuracies.append(record.test_accuracy)


class _Memory:
    """Keeps the best checkpoint, and nothing on disk."""

    def __init__(self) -> None:
        self._best: list[Checkpoint] = []
        self.store = Store(self._save, lambda: self._best[0])

    def _save(self, checkpoint: Checkpoint, best: bool) -> None:
        if best:
            self._best = [checkpoint]


def _facts(backend: Backend, recipe: Recipe, ask: Ask, steps: int, threads: int | None) -> dict[str, Any]:
    text, found = recipe.to_toml(), backend.probe()
    return {
        "backend": backend.name,
        "device": backend.device,
        "threads": threads,
        "levels": list(ask.levels),
        "steps": steps,
        "seeds": ask.seeds,
        "recipe": text,
        "recipe_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "versions": {
            "xtrain": version("xtrain"),
            "python": platform.python_version(),
            "numpy": np.__version__,
            backend.name: found.version,
        },
        "system": platform.platform(),
    }
