"""The trainer over the fake backend, for tests: small data, parts, and what an observer saw."""

from dataclasses import replace

import numpy as np
import xtrain_fake
from recipe_values import small

from xtrain import data, plan
from xtrain.data.batches import per_channel
from xtrain.runs.progress import Progress
from xtrain.runs.run import Run
from xtrain.spec import Split
from xtrain.training.assembly import Parts, Source
from xtrain.training.observers import Observer
from xtrain.training.trainer import Store, Trainer

TRAIN, TEST = 23, 9


def arrays(train=TRAIN, test=TEST):
    """Digits-like images of noise with a bright row at the place of the label."""
    rng = np.random.default_rng(0)

    def split(count):
        labels = np.arange(count, dtype=np.int64) % 10
        images = rng.integers(0, 100, (count, 1, 8, 8), dtype=np.uint8)
        images.reshape(count, 64)[np.arange(count), labels * 6] = 255
        return images, labels

    return data.Arrays(*split(train), *split(test))


def few(monkeypatch):
    """Let every data set be `arrays`, which it says of itself."""
    info = data.info
    monkeypatch.setattr(data, "load", lambda section, data_dir: arrays())
    monkeypatch.setattr(data, "info", lambda section: replace(info(section), train=TRAIN, test=TEST))


def recipe(**overrides):
    """Six batches of 4 (the last of 3) an epoch, three epochs."""
    defaults = {
        "model": {"name": "mlp", "hidden": []},
        "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
        "data__batch_size": 4,
        "loop__epochs": 3,
        "loop__log_every": 4,
    }
    return small(**{**defaults, **overrides})


def bound(recipe, train=TRAIN, test=TEST):
    """Over as many images as `arrays` has."""
    return recipe.bind(replace(data.info(recipe.data.dataset), train=train, test=test))


def made(path, job, backend="fake", **identity):
    """A new run directory over `arrays` without a checkpoint; its session is under way, nobody holds it."""
    identity = {"backend": backend, "device": "cpu", "threads": None, **identity}
    with Run.created(path, job, arrays().sha256(), identity, {"backend": backend, "threads": None}) as run:
        return run


class Recorder(Observer):
    """Remembers what it is told."""

    def __init__(self):
        self.steps, self.samples, self.trained, self.epochs, self.seen = [], [], [], [], []

    def start(self, start):
        self.seen.append("start")

    def step(self, step, samples):
        self.steps.append(step)
        self.samples.append(samples)

    def train(self, record):
        self.trained.append(record)

    def epoch(self, record):
        self.epochs.append(record)

    def stop(self):
        self.seen.append("stop")


class Training:
    """A trainer from the start or from a checkpoint; `saved`: each checkpoint it made, and whether best."""

    def __init__(self, recipe, checkpoint=None, stop_after=None):
        self.recorder, self.saved = Recorder(), []
        found, backend = arrays(), xtrain_fake.FakeBackend("cpu", None)
        self.job = job = bound(recipe)
        mean, std = per_channel(job.normalize.mean), per_channel(job.normalize.std)
        train = Split(found.train_images, found.train_labels, mean, std, recipe.data.augment)
        test = Split(found.test_images, found.test_labels, mean, std)
        self.model = backend.model(job.model)
        self.optimizer = backend.optimizer(recipe.optimizer, self.model)
        progress = Progress()
        self.model.load(plan.initial_state(recipe.seed, job.model))
        if checkpoint:
            self.model.load(checkpoint.model)
            self.optimizer.load(checkpoint.optimizer)
            progress = Progress.from_dict(checkpoint.progress.to_dict())
        loop = backend.loop(self.model, recipe.loss, self.optimizer)
        labels = found.train_labels[:7].copy()
        labels[0] += 1  # a wrong one: never as accurate as the test split
        seven = Split(found.train_images[:7], labels, mean, std)
        trained, tested, kept = (
            Source(backend.dataset(split), split.labels) for split in (train, test, seven)
        )
        held_out = kept if recipe.data.validation else None
        parts = Parts(trained, tested, self.model, self.optimizer, loop, held_out)
        stopping = (lambda: self.trainer.progress.step >= stop_after) if stop_after else (lambda: False)
        self.trainer = Trainer(job, parts, progress, [self.recorder], Store(self._save, self._best), stopping)

    def run(self):
        """True where it came to the end of the recipe."""
        return self.trainer.run()

    def steps_saved(self):
        """The steps after which there was a checkpoint."""
        return [checkpoint.progress.step for checkpoint, _ in self.saved]

    def _save(self, checkpoint, best):
        kept = Progress.from_dict(checkpoint.progress.to_dict())  # the trainer's own goes on changing
        self.saved.append((type(checkpoint)(checkpoint.model, checkpoint.optimizer, kept), best))

    def _best(self, progress):
        (found,) = [each for each, _ in self.saved if each.progress.step == progress.best_step]
        return found


def calls(kind):
    """What the fake was asked for, of one kind."""
    return [call[1:] if len(call) > 2 else call[1] for call in xtrain_fake.calls if call[0] == kind]
