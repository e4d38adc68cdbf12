"""A run that goes on under other backends, beside the one that stayed where it was.

How far the two may lie apart is not chosen: it is how far the run that stayed lies from itself when its
initial weights are moved, by the draws, the envelope and the factor of level P5 (docs/parity.md).
"""

import json
import shutil
from dataclasses import dataclass, replace

import numpy as np
from safetensors.numpy import save_file

import xtrain
from xtrain.conformance.noise import EPSILON
from xtrain.parity.bench import moved
from xtrain.parity.compare import TRAJECTORY, envelope
from xtrain.parity.trace import UNITS
from xtrain.recipe import load_recipe
from xtrain.runs import checkpoint as checkpoints
from xtrain.runs.run import Run
from xtrain.system.isolated import isolated
from xtrain.training.assembly import initial_state


@dataclass(frozen=True)
class Distance:
    """How far two runs lie apart, relatively, and how far they may: by step or by epoch."""

    difference: np.ndarray
    allowed: np.ndarray

    @property
    def share(self):
        """Of what is allowed, at the step that comes nearest to it or lies furthest beyond."""
        share = self.difference / self.allowed
        return float(np.where(np.isfinite(share), share, np.inf).max())


def stay(recipe, backend, folder):
    """Train to the end under one backend: the run itself, then one from each draw of moved weights."""
    isolated(_stay, recipe, backend, folder)
    return [Run(folder / f"{recipe.stem}-{draw}") for draw in range(len(UNITS))]


def _stay(recipe, backend, folder):
    initial = initial_state(load_recipe(recipe).bind())
    for draw, units in enumerate(UNITS):
        path = folder / f"{recipe.stem}-{draw}"
        weights = path.with_suffix(".safetensors")
        save_file(moved(initial, draw), weights)
        changes = {"loop.log_every": 1, **({"init_from": str(weights)} if units else {})}
        xtrain.run(recipe, backend=backend, threads=1, overrides=changes, out=path, quiet=True)


def hand_over(command, run, *legs):
    """A run that goes on under other backends: a copy for each leg, made of the one before.

    Args:
        command: `xtrain`.
        run: the run; the copies lie beside it.
        legs: steps and the backend that goes on from there, to the end of the recipe.

    """
    runs = [run]
    for step, backend in legs:
        copied = Run(_copy(runs[-1].path, backend))
        place = copied.checkpoint(f"step-{step}")
        done = command("run", "--resume", place, "--backend", backend, "--threads", 1, timeout=1200)
        assert done.code == 0, done.err[-3000:]
        runs.append(copied)
    return runs[1:]


def go_on(run, step, backend, changes, epochs):
    """Copies of a run that go on from one checkpoint, each after its own of `changes` was made to it."""
    isolated(_go_on, run.path, step, backend, changes, epochs)
    return [Run(_beside(run.path, name)) for name in changes]


def _go_on(path, step, backend, changes, epochs):
    for name, change in changes.items():
        run = Run(_copy(path, name))
        place = run.checkpoint(f"step-{step}")
        checkpoints.save(run.checkpoints, change(checkpoints.load(place, run.job.model)))
        shorter = {"loop.epochs": epochs}
        xtrain.run(resume=place, backend=backend, threads=1, overrides=shorter, quiet=True)


def _copy(path, name):
    return shutil.copytree(path, _beside(path, name))


def _beside(path, name):
    return path.with_name(f"{path.name}-{name}")


def losses(run):
    """Of every step."""
    return np.array([record["loss"] for record in run.train])


def evaluated(run):
    """Losses on the test split, by epoch: only there do running statistics count."""
    return np.array([record["test_loss"] for record in run.epochs])


def distance(run, draws, figure=losses):
    """Of `run` from the first of `draws`, as far as it came."""
    difference = differences(run, draws[0], figure)
    stayed = np.array([figure(draw)[: len(difference)] for draw in draws])
    return Distance(difference, TRAJECTORY * np.maximum(envelope(stayed)[1], max(UNITS) * EPSILON))


def differences(run, other, figure=losses):
    """Relative, as far as `run` came."""
    found = figure(run)
    expected = figure(other)[: len(found)]
    return np.abs(found - expected) / np.abs(expected)


def places(run):
    """Of every record what rounding has no part in: kind, epoch, step, learning rate."""
    return [(record["kind"], record["epoch"], record["step"], record.get("lr")) for record in run.history]


def counters(run):
    """Of every checkpoint's progress what rounding has no part in."""
    paths = run.checkpoints.glob("step-*/progress.json")
    return {path.parent.name: _counted(json.loads(path.read_text())["progress"]) for path in paths}


def _counted(progress):
    """Without losses, hits and seconds; a watch, which is called `best` too, has such a figure inside."""
    rounded = ("loss_sum", "correct", "best", "train_seconds")
    return {
        key: _counted(value) if isinstance(value, dict) else value
        for key, value in progress.items()
        if isinstance(value, dict) or key not in rounded
    }


# ---- what may happen to a checkpoint on the way


def kept(found):
    return found


def moments_zeroed(found):
    zeroed = {name: value if name == "step" else value * 0 for name, value in found.optimizer.items()}
    return replace(found, optimizer=zeroed)


def count_of_updates_zeroed(found):
    return replace(found, optimizer={**found.optimizer, "step": found.optimizer["step"] * 0})


def running_statistics_reset(found):
    begun = {"running_mean": 0.0, "running_var": 1.0}
    endings = {name: name.rpartition(".")[2] for name in found.model}
    reset = {
        name: np.full_like(found.model[name], begun[end]) for name, end in endings.items() if end in begun
    }
    return replace(found, model={**found.model, **reset})


def one_batch_back(found):
    return replace(found, progress=replace(found.progress, batch=found.progress.batch - 1))
