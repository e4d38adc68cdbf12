"""Records what a backend makes of a recipe, level by level, and once more with its weights nudged."""

import hashlib
import platform
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from xtrain import data
from xtrain.parity import probe
from xtrain.parity.bench import JUMPS, Bench, moved
from xtrain.parity.trace import UNITS, Ask, Trace, save
from xtrain.protocols import Backend
from xtrain.recipe import Job, Recipe
from xtrain.recipe.recipe import SEEDS
from xtrain.runs.checkpoint import Checkpoint
from xtrain.runs.progress import Progress
from xtrain.spec import State
from xtrain.system.distribution import version
from xtrain.system.machine import environment
from xtrain.training import assembly
from xtrain.training.assembly import Options
from xtrain.training.observers import EpochRecord, Observer, TrainRecord
from xtrain.training.trainer import Store, Trainer, in_groups


def record(job: Job, options: Options, ask: Ask, folder: Path) -> None:
    """Open the backend in this process and write its trace to `folder`."""
    backend = assembly.open_backend(options, job.model, job.recipe.loop.precision)
    arrays = assembly.load_data(job, options.data_dir)
    save(trace(backend, job, arrays, ask, options.threads), folder)


def trace(backend: Backend, job: Job, arrays: data.Arrays, ask: Ask, threads: int | None = None) -> Trace:
    """What `backend` makes of a job, for the levels asked for."""
    bench, draws, recipe = Bench(backend, job, arrays), range(len(UNITS)), job.recipe
    steps = min(ask.steps or job.steps_per_epoch, job.steps)
    seeds = range(ask.seeds) if "P6" in ask.levels else ()
    return Trace(
        facts=_facts(backend, recipe, ask, steps, threads),
        terms=dict(backend.explain(job.model, recipe.loss, recipe.optimizer)),
        batches=list(islice(hashes(bench), steps)) if "P1" in ask.levels else [],
        tensors={
            level: [probe.thinned(measure(bench, draw)) for draw in draws]
            for level, measure in _TENSORS.items()
            if level in ask.levels
        },
        losses=[losses(bench, draw, steps) for draw in draws] if "P5" in ask.levels else [],
        outcomes=[outcome(backend, job, arrays, seed) for seed in seeds],
    )


def hashes(bench: Bench) -> Iterator[str]:
    """P1: of each step's images and labels, as the device has them."""
    for epoch in range(1, bench.recipe.loop.epochs + 1):
        for batches in in_groups(bench.batches(epoch), bench.recipe.loop.accumulate):
            digest = hashlib.sha256()
            for batch in batches:
                for array in bench.parts.train.dataset.read(batch):
                    digest.update(f"{array.dtype} {array.shape}".encode())
                    digest.update(np.ascontiguousarray(array).tobytes())
            yield digest.hexdigest()


def forward(bench: Bench, draw: int) -> State:
    """P2: every layer's output, the loss, and the buffers after, in training and in evaluation."""
    model, loop = bench.parts.model, bench.parts.loop
    batch, state = bench.batch(1, probe.SAMPLES, draw), _probe_state(bench, draw)
    step, weight = bench.step(1, probe.SAMPLES), bench.weight(1, probe.SAMPLES)
    images, _ = bench.parts.train.dataset.read(batch)
    found: State = {}
    for mode, given in (("train", step), ("eval", None)):
        bench.reset(state)
        found |= {f"{mode}/{path}": value for path, value in model.trace(images, given).items()}
        if given:
            found |= {f"buffers/{name}": model.state()[name] for name in bench.buffers}
    bench.reset(state)
    handles = [loop.eval_step(batch), loop.train_step([batch], step)]
    for mode, metrics in zip(("eval", "train"), loop.read(handles), strict=True):
        found[f"{mode}/loss"] = np.array([metrics.loss_sum / weight])
    return found


def gradients(bench: Bench, draw: int) -> State:
    """P3: of the mean loss by every parameter."""
    bench.reset(_probe_state(bench, draw, JUMPS))
    batch = bench.batch(1, probe.SAMPLES, draw, JUMPS)
    return bench.parts.loop.gradients(batch, bench.step(1, probe.SAMPLES))


def updates(bench: Bench, draw: int) -> State:
    """P4: weights and moments after some of a hundred steps on fed gradients; nudged at every step."""
    bench.reset(_probe_state(bench, draw))
    optimizer, model, seed = bench.parts.optimizer, bench.parts.model, bench.recipe.seed
    fed, rounding = probe.Gradients(seed, bench.spec, draw), probe.Rounding(seed, bench.spec, draw)
    found: State = {}
    for number in range(1, probe.UPDATES[-1] + 1):
        optimizer.step(fed.at(number), bench.step(number))
        if number in probe.UPDATES:
            state = model.state()
            found |= {f"step {number}/{name}": state[name] for name in bench.spec.trainable}
            found |= {f"step {number}/{name}": value for name, value in optimizer.state().items()}
        if draw:
            bench.reset(rounding.of(model.state(), number), rounding.of(optimizer.state(), number))
    return found


_TENSORS = {"P2": forward, "P3": gradients, "P4": updates}


def losses(bench: Bench, draw: int, steps: int) -> list[float]:
    """P5: of every step, as the trainer goes: schedule, accumulation and evaluation are its own.

    But it does not stop early: every draw would at a step of its own.
    """
    bench.reset(moved(bench.initial, draw))
    watcher, progress = _Watcher(), Progress()
    loop = replace(bench.recipe.loop, log_every=1, checkpoint_every=steps + 1)
    job = replace(bench.job, recipe=replace(bench.recipe, loop=loop, stopping=None))
    Trainer(job, bench.parts, progress, [watcher], _Memory().store, lambda: progress.step >= steps).run()
    return watcher.losses[:steps]


def outcome(backend: Backend, job: Job, arrays: data.Arrays, seed: int) -> float:
    """P6: test accuracy at the end of the whole recipe, from another seed."""
    job = replace(job, recipe=replace(job.recipe, seed=(job.recipe.seed + seed) % SEEDS))
    parts = assembly.build(backend, job, arrays, assembly.initial_state(job))
    watcher = _Watcher()
    Trainer(job, parts, Progress(), [watcher], _Memory().store).run()
    return watcher.accuracies[-1]


def _probe_state(bench: Bench, draw: int, jumps: int = 1) -> State:
    return moved(probe.state(bench.recipe.seed, bench.initial), draw, jumps)


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
        self.store = Store(self._save, lambda progress: self._best[0])

    def _save(self, checkpoint: Checkpoint, best: bool) -> None:
        if best:
            self._best = [checkpoint]


def _facts(backend: Backend, recipe: Recipe, ask: Ask, steps: int, threads: int | None) -> dict[str, Any]:
    text, found, machine = recipe.to_toml(), backend.probe(), environment(())
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
            "xtrain": version(),
            "python": platform.python_version(),
            "numpy": np.__version__,
            backend.name: found.version,
        },
        "system": f"{platform.platform()}, {machine['cpu']}, {machine['cores']} cores",
    }
